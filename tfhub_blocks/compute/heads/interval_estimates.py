"""Estimates: a number measured on a sample of items, with its confidence interval.

Intervals are 95 % intervals. They assume that items are independent samples. Leave-one-out
predictions share training data, so for these the assumption holds approximately.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054


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
    """Return ``hits / items`` with Wilson's score interval, whose width is never zero.

    Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    Args:
        hits: From 0 to ``items``.
        items: At least 1.
    """
    value, weight = hits / items, Z_95**2 / items
    middle = (value + weight / 2) / (1 + weight)
    reach = math.sqrt(weight * (value * (1 - value) + weight / 4)) / (1 + weight)
    return IntervalEstimate(value, max(middle - reach, 0.0), min(middle + reach, 1.0))


def paired_difference(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> IntervalEstimate:
    """Return the share of hits of ``one`` minus the share of ``other``, on the same items.

    The difference depends only on items that exactly one of both gets right. So the interval is
    much narrower than for shares of different items. It is Wald's interval with half an item added
    to each of the four cells: Agresti and Min, Simple improved confidence intervals for comparing
    matched proportions, 2005.

    Args:
        one: ``[items]``, True for each hit; at least one item.
        other: ``[items]``, of the same items in the same order.
    """
    gained, lost = int((one & ~other).sum()), int((~one & other).sum())
    items, up, down = len(one) + 2, gained + 0.5, lost + 0.5
    middle = (up - down) / items
    reach = Z_95 * math.sqrt((up + down) / items - middle**2) / math.sqrt(items)
    return IntervalEstimate(
        (gained - lost) / len(one), max(middle - reach, -1.0), min(middle + reach, 1.0)
    )
