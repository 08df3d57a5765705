"""The cores of the machine that this process may use."""

import os


def core_count() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
