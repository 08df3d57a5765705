"""The limits of a served model: number and size of items, and waiting time of requests."""

# decision 42

from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.records.formats.runtimes import read_runtime


@dataclass(frozen=True)
class ServingLimits:
    """Limits of requests, so that no request can take memory or time from others.

    ``budget_ms`` is the time within which an answer is useful: a request that cannot be answered
    in this time is refused. ``waiting`` is the limit of items in memory at once.
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
    """Return the limits for a model, with the latency budget of its runtime, if any.

    Raises:
        BlocksError: The runtime of the model cannot be read.
    """
    runtime = read_runtime(path)
    budget_ms = runtime.budget.p99_ms if runtime else None
    return ServingLimits(budget_ms=budget_ms) if budget_ms else ServingLimits()
