"""Percentiles of latencies with intervals, and the end of the warm-up."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95
PERCENTILES = (50, 95, 99)
# With fewer, the interval of p99 has no upper end.
LEAST_REQUESTS = 400

STEADY_CALLS = 10
STEADY_FACTOR = 1.5


@dataclass(frozen=True)
class Percentile:
    """A percentile with its 95 % interval."""

    value: float
    low: float
    high: float


def percentile(latencies: NDArray[np.float64], percent: float) -> Percentile:
    """Return a percentile of independent latencies and its interval; all three are latencies.

    The interval is valid for every distribution, because the number of latencies below the true
    percentile is binomial: Conover, Practical Nonparametric Statistics, 1999, section 3.2. The
    upper end is at most the largest latency, so p99 needs ``LEAST_REQUESTS`` for a proper interval.

    Args:
        latencies: One or more.
        percent: Between 0 and 100.
    """
    ordered, share = np.sort(latencies), percent / 100
    count, tail = len(ordered), (1 - CONFIDENCE) / 2
    low = int(stats.binom.ppf(tail, count, share))
    high = int(stats.binom.ppf(1 - tail, count, share)) + 1
    at = [min(max(rank, 1), count) - 1 for rank in (math.ceil(count * share), low, high)]
    return Percentile(*(float(ordered[index]) for index in at))


def steady_from(calls: Sequence[float]) -> int:
    """Return the index of the first call of the steady state; earlier calls are the warm-up.

    From this call on, ``STEADY_CALLS`` calls in a row take at most 1.5 times the median of the
    second half. If no such call exists, the index is the middle.
    """
    values = np.asarray(calls)
    middle = len(values) // 2
    usual = values <= STEADY_FACTOR * np.median(values[middle:])
    for start in range(middle):
        if usual[start : start + STEADY_CALLS].all():
            return start
    return middle
