"""Request limits and probes of an online deployment, derived from its measured runtime."""

# decision 48

import math
from dataclasses import dataclass

from tfhub_blocks.records.formats.runtimes import Runtime

# The value of compute/serving/limits.py for a runtime without a budget p99_ms.
USUAL_BUDGET_MS = 1000.0
_MOST_TIMEOUT_MS = 180_000  # Azure's
_USUAL_START_S = 60.0


@dataclass(frozen=True)
class OnlineSettings:
    """The request limits and probe times of a deployment.

    An instance processes ``requests`` at a time. Azure lets others wait for ``queue_ms``, and ends
    those that take longer than ``timeout_ms``. Azure probes an instance from ``start_s`` on, and
    replaces an instance that is not ready within another ``ready_within_s``.
    """

    requests: int
    queue_ms: int
    timeout_ms: int
    start_s: int
    ready_within_s: int


def online_settings(runtime: Runtime) -> OnlineSettings:
    """Return the settings that fit a runtime.

    The number of requests keeps the runtime busy. It is the larger of the runtime's concurrency and
    the requests in progress at the measured ``items_per_s`` within ``p99_ms`` (Little's law). A
    request does not wait longer than the budget, because its answer would come too late.
    """
    kept, budget_ms = runtime.budget, runtime.budget.p99_ms or USUAL_BUDGET_MS
    requests = runtime.concurrency * runtime.largest_batch
    if kept.items_per_s and kept.p99_ms:
        requests = max(requests, math.floor(kept.items_per_s * kept.p99_ms / 1000))
    start_s = kept.cold_start_s or _USUAL_START_S
    return OnlineSettings(
        requests=requests,
        queue_ms=math.ceil(budget_ms),
        # The program itself refuses requests beyond the budget; this limit ends a hanging one.
        timeout_ms=min(math.ceil(2 * budget_ms) + 1000, _MOST_TIMEOUT_MS),
        start_s=math.ceil(start_s),
        # The start was measured with local files; an endpoint downloads the files first.
        ready_within_s=math.ceil(10 * start_s) + 60,
    )
