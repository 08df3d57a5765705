"""What a served model takes: how much at once, how large, and how long a request may wait."""

from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.records.formats.runtimes import read_runtime


@dataclass(frozen=True)
class ServingLimits:
    """Bounds on requests, so that none can take memory or time from the others.

    ``budget_ms`` is the time in which an answer is worth something: a request that cannot be
    answered within it is refused instead. ``waiting`` bounds the items that are held at once.
    """

    body_bytes: int = 8 * 2**20
    items: int = 32
    text_bytes: int = 100_000
    pixels: int = 25_000_000
    seconds: float = 60.0
    waiting: int = 128
    budget_ms: float = 1000.0
    # From the first byte of a body to its last.
    body_timeout_s: float = 10.0


def usual_limits(path: Path) -> ServingLimits:
    """Those for a model, with the budget that its runtime was measured to keep, if it was.

    Raises:
        BlocksError: Its runtime cannot be read.
    """
    runtime = read_runtime(path)
    budget_ms = runtime.budget.p99_ms if runtime else None
    return ServingLimits(budget_ms=budget_ms) if budget_ms else ServingLimits()
