"""A sample to label: the items to label, and the accuracy that their labels show."""

# decision 91

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

# The share of the sample that is drawn without regard to confidence.
FLOOR = 0.2


@dataclass(frozen=True, eq=False)
class LabelRequest:
    """The items to label, in a random order: their rows, and the chance of each to be drawn.

    A labeller may stop early: the first items of the list are a random part of it.
    """

    rows: NDArray[np.int64]
    chances: NDArray[np.float64]

    def first(self, count: int) -> "LabelRequest":
        """Return the first items of the list, with the chances that they had to be among them."""
        share = count / len(self.rows)
        return LabelRequest(self.rows[:count], self.chances[:count] * share)


@dataclass(frozen=True)
class MeasuredAccuracy:
    """The accuracy measured with labels, with a 95 % interval."""

    value: float
    low: float
    high: float
    labels: int


def request_labels(
    probabilities: NDArray[np.floating], count: int, random: np.random.Generator
) -> LabelRequest:
    """Draw items to label, the uncertain ones more often (systematic sampling).

    The chance of an item is proportional to the standard deviation of its right answer,
    sqrt(c (1 - c)) for the confidence c, with a floor, so that no item has the chance 0.

    Args:
        probabilities: The probabilities of the current items, [m, classes].
        count: The number of items to label.
        random: Draws the start of the systematic sample.
    """
    top = probabilities.max(axis=1).astype(np.float64)
    spread = np.sqrt(top * (1 - top))
    weights = spread / max(spread.sum(), 1e-12) * (1 - FLOOR) + FLOOR / len(top)
    chances = _chances(weights, min(count, len(top)))
    order = random.permutation(len(top))
    ends = np.cumsum(chances[order])
    points = random.uniform() + np.arange(round(ends[-1]))
    rows = order[np.searchsorted(ends, points, "right").clip(0, len(top) - 1)]
    # Systematic sampling finds rows in the order of the sample; the list needs one of its own.
    rows = random.permutation(rows)
    return LabelRequest(rows, chances[rows])


def _chances(weights: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return chances proportional to weights, at most 1, that sum to ``count``."""
    chances = np.zeros(len(weights))
    free = np.ones(len(weights), bool)
    while True:
        left = count - chances[~free].sum()
        chances[free] = weights[free] / weights[free].sum() * left if free.any() else 0
        over = free & (chances > 1)
        if not over.any():
            return chances
        chances[over] = 1.0
        free &= ~over


def measure_accuracy(
    probabilities: NDArray[np.floating],
    request: LabelRequest,
    right: Sequence[bool] | NDArray[np.bool_],
) -> MeasuredAccuracy:
    """Return the accuracy over all current items, from the labels of some.

    The difference estimator: the mean confidence of all items, corrected by the weighted errors of
    the confidence on labelled items. It is unbiased for any calibration.

    Args:
        probabilities: The probabilities of all current items, [m, classes].
        request: The labelled items.
        right: For each row of the request, True if the answer is right.
    """
    top = probabilities.max(axis=1).astype(np.float64)
    errors = (np.asarray(right, np.float64) - top[request.rows]) / request.chances
    count, items = len(errors), len(top)
    value = top.mean() + errors.sum() / items
    # Labels that all agree with the confidence leave no variance, and some errors all the same: the
    # interval is at least half as wide as that of a plain sample.
    variance = count * errors.var(ddof=1) / items**2 if count > 1 else 0.25
    share = min(max(value, 1 / (count + 4)), 1 - 1 / (count + 4))
    least = share * (1 - share) / count / 4
    half = float(t.ppf(0.975, max(count - 1, 1)) * np.sqrt(max(variance, least)))
    value = float(min(max(value, 0.0), 1.0))
    return MeasuredAccuracy(value, max(value - half, 0.0), min(value + half, 1.0), count)
