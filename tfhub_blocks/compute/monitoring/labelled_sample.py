"""A sample to label: the items to label, and the accuracy that their labels show."""

# decisions 91 and 117

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, t

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

    The value is the difference estimator: the mean confidence of all items, corrected by the
    weighted errors of the confidence on labelled items. The value is unbiased for any calibration.
    The interval is that of a plain sample of a smaller size (``_interval``), which is exact if all
    chances are equal. Simulations show that it also covers the accuracy if the confident answers
    are wrong, or all labels agree.

    Args:
        probabilities: The probabilities of all current items, [m, classes].
        request: The labelled items.
        right: For each row of the request, True if the answer is right.
    """
    top = probabilities.max(axis=1).astype(np.float64)
    correct, weights = np.asarray(right, np.float64), 1 / request.chances
    value = top.mean() + ((correct - top[request.rows]) * weights).sum() / len(top)
    value = float(min(max(value, 0.0), 1.0))
    low, high = _interval(top, top[request.rows], correct, weights / weights.sum())
    return MeasuredAccuracy(value, min(low, value), max(high, value), len(correct))


def _interval(
    top: NDArray[np.float64],
    labelled: NDArray[np.float64],
    correct: NDArray[np.float64],
    weights: NDArray[np.float64],
) -> tuple[float, float]:
    """Return the interval of Clopper and Pearson for the effective number of labels.

    That number follows from the variance of the regression of right answers on the confidence
    (Korn and Graubard, 1998). Without a variance, it is Kish's number, 1 over the sum of squared
    weights.
    """
    middle = float(weights @ labelled)
    spread = float(weights @ (labelled - middle) ** 2)
    slope = float(weights @ ((labelled - middle) * (correct - weights @ correct)))
    # The answer may not depend on the confidence more strongly than in a calibrated model.
    slope = min(max(slope / spread, 0.0), 1.0) if spread > 1e-12 else 0.0
    residuals = correct - slope * labelled
    level = float(weights @ residuals)
    share = min(max(level + slope * float(top.mean()), 0.0), 1.0)
    count = len(correct)
    variance = count / max(count - 1, 1) * float(((weights * (residuals - level)) ** 2).sum())
    number = 1 / float((weights**2).sum())
    if variance > 1e-12 and 0 < share < 1:
        # Few labels hide confident mistakes: they never count for more than a plain sample.
        number = min(share * (1 - share) / variance, count)
        number *= float(t.ppf(0.975, 1e6) / t.ppf(0.975, count - 1)) ** 2
    right, wrong = share * number, (1 - share) * number
    low = float(beta.ppf(0.025, right, wrong + 1)) if right > 1e-9 else 0.0
    high = float(beta.ppf(0.975, right + 1, wrong)) if wrong > 1e-9 else 1.0
    return low, high
