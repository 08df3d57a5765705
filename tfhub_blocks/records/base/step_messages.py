"""Messages of a step to its engine: progress, warnings and the error that ends the step."""

# decision 69

import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from tfhub_blocks.records.base.errors import ERROR_PREFIX
from tfhub_blocks.records.base.foreign_text import beneath, printable, printable_output
from tfhub_blocks.records.base.redaction import redacted

# The number of an open pipe, which only the step's own process inherits.
VARIABLE = "TFHUB_BLOCKS_MESSAGES"
PROGRESS_PREFIX = "progress: "
WARNING_PREFIX = "warning: "
PREFIXES = {"progress": PROGRESS_PREFIX, "warning": WARNING_PREFIX, "error": ERROR_PREFIX}


def send_message(kind: str, text: str) -> None:
    """Report a message to the engine, and print it as a line such as ``warning: TEXT``.

    Args:
        kind: ``progress``, ``warning`` or ``error``.
        text: The message. It is redacted, and shown on one line.
    """
    shown = printable(redacted(text))
    stream = sys.stdout if kind == "progress" else sys.stderr
    sys.stdout.flush()
    print(f"{PREFIXES[kind]}{shown}", file=beneath(stream), flush=True)
    if (pipe := _pipe()) is not None:
        # The engine may be gone, and the step must still end by itself.
        with suppress(OSError):
            os.write(pipe, f"{json.dumps({'kind': kind, 'text': shown})}\n".encode())


@contextmanager
def guarded_output() -> Iterator[None]:
    """Escape what is printed inside this context, so that no line imitates a message."""
    _pipe()
    with printable_output(PREFIXES.values()):
        yield


@cache
def _pipe() -> int | None:
    """Return the pipe to the engine, and keep it from the processes that this one starts."""
    number = os.environ.pop(VARIABLE, "")
    try:
        if stat.S_ISFIFO(os.fstat(int(number)).st_mode):
            os.set_inheritable(int(number), False)
            return int(number)
    except (ValueError, OSError):
        pass
    return None
