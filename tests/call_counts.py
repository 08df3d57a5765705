"""Work that is counted instead of timed: the calls of Python functions.

A busy machine makes the same calls. Neither the work of C code nor that of other threads is
counted; tests/benchmarks/bench_starts.py measures the time.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

_SCRIPT = """
import contextlib, itertools, sys
_calls = itertools.count()
def _trace(*_):
    next(_calls)
sys.settrace(_trace)
with contextlib.suppress(SystemExit):
    exec(sys.argv.pop(1), {"__name__": "__main__"})
sys.settrace(None)
print()
print(next(_calls))
"""


def calls_of(script: str, *arguments: str, **options: Any) -> int:
    """Return how many calls a script makes in a process of its own, imports included."""
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, script, *arguments],
        check=False,
        capture_output=True,
        text=True,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1])


@contextmanager
def counted_calls() -> Iterator[Callable[[], int]]:
    """Give a function that returns how many calls this thread has made in the block.

    It traces, as azure-ai-ml needs the profiler for itself.
    """
    calls, before = count(), sys.gettrace()

    def trace(*_: Any) -> None:
        next(calls)

    sys.settrace(trace)
    try:
        yield lambda: next(calls)
    finally:
        sys.settrace(before)
