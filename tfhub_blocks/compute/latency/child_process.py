"""Processes of our own code."""

import sys
from pathlib import Path

import tfhub_blocks


def command(module: str, *arguments: str) -> list[str]:
    """What starts the function ``main`` of a module in a process of its own.

    The code of a step is not installed where it runs, so the process is told where it is.
    """
    root = str(Path(tfhub_blocks.__file__).parents[1])
    program = f"import sys; sys.path.insert(0, {root!r}); from {module} import main; main()"
    return [sys.executable, "-c", program, *arguments]
