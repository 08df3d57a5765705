"""Child processes that run the code of this package."""

import sys
from pathlib import Path

import tfhub_blocks


def command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs the function ``main`` of a module in a new process.

    The code of a step is not installed on the node, so the command contains the path of the code.
    """
    root = str(Path(tfhub_blocks.__file__).parents[1])
    program = f"import sys; sys.path.insert(0, {root!r}); from {module} import main; main()"
    return [sys.executable, "-c", program, *arguments]
