"""How an online deployment is asked and watched, from what its runtime was measured to keep."""

import math
from dataclasses import dataclass

from tfhub_blocks.records.formats.runtimes import Runtime

# As compute/serving/limits.py has it, for a runtime that was held to no p99_ms.
USUAL_BUDGET_MS = 1000.0
_MOST_TIMEOUT_MS = 180_000  # Azure's
_USUAL_START_S = 60.0


@dataclass(frozen=True)
class OnlineSettings:
    """What a deployment gets.

    ``requests`` are under way in an instance at once; Azure lets others wait for ``queue_ms`` and
    ends those that take longer than ``timeout_ms``. An instance is asked whether it is ready from
    ``start_s`` on, and is given up if it is not within ``ready_within_s`` more.
    """

    requests: int
    queue_ms: int
    timeout_ms: int
    start_s: int
    ready_within_s: int


def online_settings(runtime: Runtime) -> OnlineSettings:
    """The settings that fit a runtime.

    As many requests as keep it busy: what it computes at once, or what may be in it when it answers
    the ``items_per_s`` that it kept within ``p99_ms`` (Little's law), whichever is more. What waits
    longer than the budget is worth nothing to whoever asked, so it does not wait longer.
    """
    kept, budget_ms = runtime.budget, runtime.budget.p99_ms or USUAL_BUDGET_MS
    requests = runtime.concurrency * runtime.largest_batch
    if kept.items_per_s and kept.p99_ms:
        requests = max(requests, math.floor(kept.items_per_s * kept.p99_ms / 1000))
    start_s = kept.cold_start_s or _USUAL_START_S
    return OnlineSettings(
        requests=requests,
        queue_ms=math.ceil(budget_ms),
        # Beyond the budget the program refuses by itself; this is for one that hangs.
        timeout_ms=min(math.ceil(2 * budget_ms) + 1000, _MOST_TIMEOUT_MS),
        start_s=math.ceil(start_s),
        # Its start was measured where the model's files were; there they are fetched first.
        ready_within_s=math.ceil(10 * start_s) + 60,
    )
