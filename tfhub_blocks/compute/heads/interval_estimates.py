"""Estimates: a number measured on a sample of items, with its confidence interval.

Intervals are 95 % intervals. They assume that items are independent samples. Leave-one-out
predictions share training data, so for these the assumption holds approximately.

Each end is Gaffke's bound for the mean of a bounded variable: the 2.5 % quantile of the mean under
random weights (a Dirichlet distribution) of the items and of one further item that has the worst
possible value. Because of this further item, no interval has width zero, not even where all items
are right. For hits and misses the bound is Clopper and Pearson's. (Gaffke, Three test statistics
for a nonparametric one-sided hypothesis on the mean of a nonnegative variable, 2005; Learned-Miller
and Thomas, A new confidence interval for the mean of a bounded random variable, 2019.)
"""

# decision 78

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincinv

TAIL = 0.025
"""The probability of an error at each end of an interval."""
_NODES = 200
_BISECTIONS = 50


@dataclass(frozen=True)
class IntervalEstimate:
    """A measure on some items, and its 95 % interval."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Return the value and both ends of the interval."""
        return {"value": self.value, "low": self.low, "high": self.high}


def share(hits: int, items: int) -> IntervalEstimate:
    """Return ``hits / items`` with Clopper and Pearson's interval.

    The interval contains the true share in at least 95 % of samples, for any number of items and
    any share. Its width is never zero. (Clopper and Pearson, The use of confidence or fiducial
    limits illustrated in the case of the binomial, 1934.)

    Args:
        hits: From 0 to ``items``.
        items: At least 1.
    """
    low = float(betaincinv(hits, items - hits + 1, TAIL)) if hits else 0.0
    high = float(betaincinv(hits + 1, items - hits, 1 - TAIL)) if hits < items else 1.0
    return IntervalEstimate(hits / items, low, high)


def paired_difference(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> IntervalEstimate:
    """Return the share of hits of ``one`` minus the share of ``other``, on the same items.

    The difference depends only on items that exactly one of both gets right. So the interval is
    much narrower than for shares of different items. The interval excludes zero exactly if
    McNemar's exact test rejects equality at 5 %. Its width is never zero.

    Args:
        one: ``[items]``, True for each hit; at least one item.
        other: ``[items]``, of the same items in the same order.
    """
    gained, lost = int((one & ~other).sum()), int((~one & other).sum())
    return gain(gained, lost, len(one))


def gain(gained: int, lost: int, items: int) -> IntervalEstimate:
    """Return ``(gained - lost) / items`` with its interval; see `paired_difference`.

    Args:
        gained: Items that only the first classifier gets right.
        lost: Items that only the other classifier gets right.
        items: All items, at least 1.
    """
    value = (gained - lost) / items
    low, high = _low_gain(gained, lost, items), -_low_gain(lost, gained, items)
    return IntervalEstimate(value, min(low, value), max(high, value))


def mean_difference(
    differences: NDArray[np.floating], reach: float, resamples: int = 2000, seed: int = 0
) -> IntervalEstimate:
    """Return the mean of paired differences with its interval; equal arguments, equal numbers.

    The interval has no width of zero unless no item can differ.

    Args:
        differences: ``[items]``, at least one.
        reach: The largest difference that one item can have, in either direction.
        resamples: Random weightings of the items.
        seed: The seed of the weightings.
    """
    random = np.random.default_rng(seed)
    means, margins = np.empty((2, resamples))
    for index in range(resamples):
        weights = random.standard_exponential(len(differences) + 1)
        whole = weights.sum()
        means[index] = weights[:-1] @ differences / whole
        margins[index] = weights[-1] * reach / whole
    value = float(differences.mean())
    low = min(float(np.quantile(means - margins, TAIL)), value)
    high = max(float(np.quantile(means + margins, 1 - TAIL)), value)
    return IntervalEstimate(value, low, high)


@cache
def _quadrature() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights


def _low_gain(gained: int, lost: int, items: int) -> float:
    """Return Gaffke's lower bound for the mean of values 1, 0 and -1, with a further item of -1.

    Under Dirichlet weights, the part of items that differ and, within this part, the share of
    gained items are independent Beta variables.
    """
    differing, same = gained + lost + 1, items - gained - lost
    if not gained:
        return -float(betaincinv(differing, same, 1 - TAIL)) if same else -1.0
    if not same:
        return 2 * float(betaincinv(gained, lost + 1, TAIL)) - 1
    # The quantiles of the share that matter are in the lower tail, so half of the nodes are there.
    nodes, weights = _quadrature()
    parts = [(0.0, 2 * TAIL), (2 * TAIL, 1.0)]
    points = np.concatenate([a + (nodes + 1) * (b - a) / 2 for a, b in parts])
    masses = np.concatenate([weights * (b - a) / 2 for a, b in parts])
    slopes = 2 * betaincinv(gained, lost + 1, points) - 1
    slopes[slopes == 0] = np.finfo(float).tiny
    low, high = -1.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        below = betainc(differing, same, np.clip(middle / slopes, 0, 1))
        probability = (masses * np.where(slopes > 0, below, 1 - below)).sum()
        low, high = (middle, high) if probability < TAIL else (low, middle)
    return low
