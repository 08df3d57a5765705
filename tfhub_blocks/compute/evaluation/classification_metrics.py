"""Metrics of a classifier's probabilities on a split, each number with its uncertainty.

Definitions are those of scikit-learn with ``zero_division=0``. For a class that a split lacks:

- recall and average precision are None, because nothing was measured, and precision is None if the
  class is never predicted;
- balanced accuracy is the mean recall over the classes that occur as targets;
- macro F1 is the mean over the classes that occur as target or as prediction.

Intervals are 95 % intervals over items, and have no width of zero where all items are right:

- accuracy, recall and precision: Clopper and Pearson's interval;
- the accuracy gain over another model: an interval that agrees with McNemar's exact test;
- all other measures: a Bayesian bootstrap (Rubin 1981) with a further item, which is the worst
  possible item for one end of the interval, and the best possible item for the other end (see
  ``heads.interval_estimates``).

The interval of the calibration error tends to be too high, because random weights add noise to
every bin.
"""

# decisions 51 and 78

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.heads.interval_estimates import TAIL, IntervalEstimate, gain, share
from tfhub_blocks.records.base.errors import BlocksError

WHERE = "evaluate"
RELIABILITY_BINS = 15
MEASURES = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "log_loss",
    "expected_calibration_error",
)
LOG_LOSS = MEASURES.index("log_loss")
# The measures that weight classes equally.
BALANCED = [MEASURES.index("balanced_accuracy"), MEASURES.index("macro_f1")]

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class against all others."""

    label: str
    support: int  # items whose target it is
    precision: IntervalEstimate | None
    """None if the class is never predicted."""
    recall: IntervalEstimate | None
    """None, as `average_precision`, if the split has no item of the class."""
    average_precision: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in their order, ready for JSON."""
        return {
            "label": self.label,
            "support": self.support,
            "precision": self.precision.as_dict() if self.precision else None,
            "recall": self.recall.as_dict() if self.recall else None,
            "average_precision": self.average_precision,
        }


@dataclass(frozen=True)
class ReliabilityBin:
    """The items whose top probability is in ``(low, high]``; means of an empty bin are 0."""

    low: float
    high: float
    count: int
    confidence: float  # mean top probability
    accuracy: float

    def as_dict(self) -> dict[str, float]:
        """Return the fields in their order."""
        return dict(vars(self))


@dataclass(frozen=True)
class ClassificationMetrics:
    """All metrics of one split. Classes are in the order of the labels."""

    items: int
    accuracy: IntervalEstimate
    balanced_accuracy: IntervalEstimate
    macro_f1: IntervalEstimate
    log_loss: IntervalEstimate
    expected_calibration_error: IntervalEstimate
    majority_share: float
    """The baseline: the accuracy of always predicting the most frequent class."""
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Counts; row: true class; column: predicted class."""
    reliability: tuple[ReliabilityBin, ...]

    def summary(self) -> dict[str, dict[str, float]]:
        """Return the measures of the whole split, each as value, low, high."""
        return {name: getattr(self, name).as_dict() for name in MEASURES}

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in their order, ready for JSON."""
        return {
            "items": self.items,
            **self.summary(),
            "majority_share": self.majority_share,
            "classes": [each.as_dict() for each in self.classes],
            "confusion": [list(row) for row in self.confusion],
            "reliability": [each.as_dict() for each in self.reliability],
        }


@dataclass(frozen=True, eq=False)
class PrecisionRecallCurve:
    """The curve of one class against the rest, from the lowest threshold to the highest.

    As in scikit-learn, the last point has recall 0 and precision 1, and no threshold.
    """

    label: str
    precision: Floats  # [points]
    recall: Floats  # [points], falling
    thresholds: Floats  # [points - 1], rising
    average_precision: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in their order, ready for JSON."""
        return {
            "label": self.label,
            "precision": self.precision.tolist(),
            "recall": self.recall.tolist(),
            "thresholds": self.thresholds.tolist(),
            "average_precision": self.average_precision,
        }


def measure(
    probabilities: NDArray[np.floating],
    targets: Integers,
    labels: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> ClassificationMetrics:
    """Return all metrics; equal arguments give equal numbers.

    Of equally probable classes, the first is the prediction. Beyond the arguments, memory contains
    a few values for each item and class, and ten values for each resample.

    Args:
        probabilities: ``[items, classes]``, rows summing to 1.
        targets: ``[items]``, indexes into the labels.
        labels: The label of each class.
        resamples: Bootstrap weightings of items.
        seed: The seed of the weightings.

    Raises:
        BlocksError: The arguments contain no item, shapes that do not fit, a target that is no
            class, rows that are no probabilities, or no resample.
    """
    _check_resamples(resamples)
    probabilities = _checked(probabilities, targets, labels)
    outcomes = _Outcomes(probabilities, targets)
    point = outcomes.measured(np.ones(len(targets)))
    lows, highs = np.empty((2, resamples, len(point)))
    for index, drawn in enumerate(weightings(len(targets), resamples, seed)):
        lows[index], highs[index] = outcomes.bounds(drawn)
    low = np.minimum(np.quantile(lows, TAIL, axis=0), point)
    high = np.maximum(np.quantile(highs, 1 - TAIL, axis=0), point)
    _, balanced_accuracy, macro_f1, log_loss, calibration_error = (
        IntervalEstimate(*map(float, each)) for each in zip(point, low, high, strict=True)
    )
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (targets, outcomes.predicted), 1)
    support = confusion.sum(axis=1)
    return ClassificationMetrics(
        items=len(targets),
        accuracy=share(int(outcomes.hit.sum()), len(targets)),
        balanced_accuracy=balanced_accuracy,
        macro_f1=macro_f1,
        log_loss=log_loss,
        expected_calibration_error=calibration_error,
        majority_share=float(support.max() / len(targets)),
        classes=_class_metrics(probabilities, targets, labels, confusion),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        reliability=outcomes.reliability(),
    )


class Weighting(NamedTuple):
    """Random weights of the items, ``[items]``, and of one further item."""

    items: Floats
    further: float


def weightings(items: int, resamples: int, seed: int = 0) -> Iterator[Weighting]:
    """Yield exponential weights of items: divided by their sum, they have Dirichlet's distribution.

    Equal arguments give equal weights.
    """
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = random.standard_exponential(items + 1)
        yield Weighting(drawn[:-1], float(drawn[-1]))


def differences(
    probabilities: NDArray[np.floating],
    others: NDArray[np.floating],
    targets: Integers,
    labels: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, IntervalEstimate]:
    """Return the difference between two classifiers in each of ``MEASURES``, on the same items.

    The difference is the value of the first classifier minus that of the second. The interval of
    the accuracy's difference agrees with McNemar's exact test. The other intervals are over the
    weightings that ``measure`` draws. An item counts equally often for both classifiers, so items
    that are hard for both do not widen the interval. If both answer identically, the interval has
    width zero.

    Args:
        probabilities: The first classifier's probabilities, ``[items, classes]``.
        others: The second classifier's probabilities, for the same items and classes in order.
        targets: See `measure`.
        labels: See `measure`.
        resamples: See `measure`.
        seed: See `measure`.

    Raises:
        BlocksError: The arguments are invalid; see `measure`.
    """
    _check_resamples(resamples)
    first, second = (_checked(answered, targets, labels) for answered in (probabilities, others))
    if np.array_equal(first, second):
        return dict.fromkeys(MEASURES, IntervalEstimate(0.0, 0.0, 0.0))
    one, other = _Outcomes(first, targets), _Outcomes(second, targets)
    once = np.ones(len(targets))
    point = one.measured(once) - other.measured(once)
    # The largest difference of one item: a share changes by one, and a loss by the largest ratio.
    reach = np.ones(len(MEASURES))
    reach[LOG_LOSS] = np.abs(_surprise(first) - _surprise(second)).max()
    drawn, margins = np.empty((2, resamples, len(point)))
    for index, weights in enumerate(weightings(len(targets), resamples, seed)):
        part = weights.further / (weights.items.sum() + weights.further)
        difference = one.measured(weights.items) - other.measured(weights.items)
        drawn[index] = (1 - part) * difference
        margins[index] = part * reach
        margins[index, BALANCED] += one.effect_on_smallest_class(weights)
    low = np.minimum(np.quantile(drawn - margins, TAIL, axis=0), point)
    high = np.maximum(np.quantile(drawn + margins, 1 - TAIL, axis=0), point)
    estimates = map(IntervalEstimate, *(each.tolist() for each in (point, low, high)))
    found = dict(zip(MEASURES, estimates, strict=True))
    hits, other_hits = one.hit > 0, other.hit > 0
    gained, lost = int((hits & ~other_hits).sum()), int((~hits & other_hits).sum())
    return found | {"accuracy": gain(gained, lost, len(targets))}


def precision_recall_curves(
    probabilities: NDArray[np.floating],
    targets: Integers,
    labels: Sequence[str],
    most_points: int = 1000,
) -> tuple[PrecisionRecallCurve, ...]:
    """Return the curve of each class, thinned to at most ``most_points`` points.

    The remaining points are evenly spaced along the whole curve and include both ends. Average
    precision is that of the whole curve.

    Raises:
        BlocksError: The arguments are invalid; see `measure`.
    """
    probabilities = _checked(probabilities, targets, labels)
    return tuple(
        _curve(label, probabilities[:, index], targets == index, most_points)
        for index, label in enumerate(labels)
    )


def most_confident_mistakes(
    probabilities: NDArray[np.floating], targets: Integers, count: int
) -> NDArray[np.intp]:
    """Return up to ``count`` items with a wrong prediction, most confident first.

    Items of equal confidence keep their order.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != targets)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order[:count]]


class _Outcomes:
    """The outcome of each item, computed once: a resample only changes the weights of items."""

    def __init__(self, probabilities: Floats, targets: Integers) -> None:
        self.classes = probabilities.shape[1]
        self.targets = targets
        self.predicted = probabilities.argmax(axis=1)
        self.hit = (self.predicted == targets).astype(np.float64)
        self.confidence = probabilities.max(axis=1)
        surprise = _surprise(probabilities)
        self.surprise = surprise[np.arange(len(targets)), targets]
        self.most_surprise = surprise.max()
        self.edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
        self.bin = np.searchsorted(self.edges[1:-1], self.confidence, side="left")
        support = np.bincount(targets, minlength=self.classes)
        self.occurs = support > 0
        self.smallest = int(np.where(self.occurs, support, len(targets) + 1).argmin())
        self.in_smallest = targets == self.smallest
        self.top_bin, self.top = int(self.bin.max()), float(self.confidence.max())

    def counts(self, times: Floats) -> tuple[Floats, Floats, Floats]:
        """Return hits, targets and predictions of each class, items counted ``times``."""
        hits = np.bincount(self.targets, times * self.hit, self.classes)
        support = np.bincount(self.targets, times, self.classes)
        predictions = np.bincount(self.predicted, times, self.classes)
        return hits.astype(float), support.astype(float), predictions.astype(float)

    def measured(self, times: Floats) -> Floats:
        """Return accuracy, balanced accuracy, macro F1, log-loss and calibration error."""
        hits, support, predictions = self.counts(times)
        total = times.sum()
        gaps = self._gaps(times)
        return np.array(
            [
                hits.sum() / total,
                *_recall_and_f1(hits, support, predictions),
                (times * self.surprise).sum() / total,
                np.abs(gaps).sum() / total,
            ]
        )

    def bounds(self, weights: Weighting) -> tuple[Floats, Floats]:
        """Return all measures with a further item that lowers them, and with one that raises them.

        The further item is of the class whose recall it changes most.
        """
        times, further = weights
        total = times.sum() + further
        kept = times.sum() / total
        hits, support, predictions = self.counts(times)
        accuracy = hits.sum() / total
        effect = further / (support + further)
        recall = hits / np.maximum(support, np.finfo(float).tiny)
        missed, found = (
            int(np.where(self.occurs, effect * each, -1).argmax()) for each in (recall, 1 - recall)
        )
        one, other = np.eye(self.classes)[[missed, (missed + 1) % self.classes]] * further
        worst = kept * _recall_and_f1(hits, support + one, predictions + other)
        one = np.eye(self.classes)[found] * further
        best = 1 - kept * (1 - _recall_and_f1(hits + one, support + one, predictions + one))
        loss = (times * self.surprise).sum() / total
        gaps = self._gaps(times)
        least_error = np.abs(gaps).sum() / total
        gaps[self.top_bin] -= further * self.top  # the further item is wrong
        error = np.abs(gaps).sum() / total
        low = np.array([accuracy, *worst, loss, min(least_error, error)])
        most = loss + (1 - kept) * self.most_surprise
        high = np.array([accuracy + 1 - kept, *best, most, max(least_error, error)])
        return low, high

    def effect_on_smallest_class(self, weights: Weighting) -> float:
        """Return the share of a further item in the smallest class, in terms of mean recall."""
        inside = (weights.items * self.in_smallest).sum()
        return float(weights.further / (inside + weights.further) / self.occurs.sum())

    def _gaps(self, times: Floats) -> Floats:
        # Guo et al. 2017, equation 3: the fraction of a bin cancels against the bin's mean.
        gaps: Floats = np.bincount(
            self.bin, times * (self.hit - self.confidence), RELIABILITY_BINS
        ).astype(float)
        return gaps

    def reliability(self) -> tuple[ReliabilityBin, ...]:
        count = np.bincount(self.bin, minlength=RELIABILITY_BINS)
        confidence = np.bincount(self.bin, self.confidence, RELIABILITY_BINS)
        hits = np.bincount(self.bin, self.hit, RELIABILITY_BINS)
        return tuple(
            ReliabilityBin(
                float(self.edges[index]),
                float(self.edges[index + 1]),
                int(count[index]),
                float(confidence[index] / max(count[index], 1)),
                float(hits[index] / max(count[index], 1)),
            )
            for index in range(RELIABILITY_BINS)
        )


def _surprise(probabilities: Floats) -> Floats:
    smallest = np.finfo(np.float64).eps
    surprise: Floats = -np.log(np.clip(probabilities, smallest, 1 - smallest))
    return surprise


def _recall_and_f1(hits: Floats, support: Floats, predictions: Floats) -> Floats:
    """Return the mean recall of classes that occur, and the mean F1 of classes that are known."""
    occurs = support > 0
    known = support + predictions > 0
    return np.array(
        [
            (hits[occurs] / support[occurs]).mean(),
            (2 * hits[known] / (support + predictions)[known]).mean(),
        ]
    )


def _class_metrics(
    probabilities: Floats, targets: Integers, labels: Sequence[str], confusion: NDArray[np.int64]
) -> tuple[ClassMetrics, ...]:
    support, predictions = confusion.sum(axis=1).tolist(), confusion.sum(axis=0).tolist()
    rows = []
    for index, (label, items, hits) in enumerate(
        zip(labels, support, np.diagonal(confusion).tolist(), strict=True)
    ):
        curve = _curve(label, probabilities[:, index], targets == index, most_points=2)
        rows.append(
            ClassMetrics(
                label,
                items,
                share(hits, predictions[index]) if predictions[index] else None,
                share(hits, items) if items else None,
                curve.average_precision if items else None,
            )
        )
    return tuple(rows)


def _curve(
    label: str, scores: Floats, positive: NDArray[np.bool_], most_points: int
) -> PrecisionRecallCurve:
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    last_of_score = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    hits = np.cumsum(positive)[last_of_score].astype(np.float64)
    precision = hits / (last_of_score + 1)
    # As in scikit-learn, recall is 1 at every threshold if the class has no items.
    recall = hits / hits[-1] if hits[-1] else np.ones(len(hits))
    found = np.diff(recall, prepend=0.0) if hits[-1] else np.zeros(len(hits))
    average_precision = float((found * precision).sum())
    points = len(precision) + 1
    keep = np.unique(np.linspace(0, points - 1, min(points, most_points)).round().astype(int))
    return PrecisionRecallCurve(
        label,
        np.append(precision[::-1], 1.0)[keep],
        np.append(recall[::-1], 0.0)[keep],
        scores[last_of_score][::-1][keep[:-1]],
        average_precision,
    )


def _check_resamples(resamples: int) -> None:
    if resamples < 1:
        raise BlocksError(
            WHERE, "resamples", f"{resamples} is too small", "", "Set resamples to 1 or more"
        )


def _checked(
    probabilities: NDArray[np.floating], targets: Integers, labels: Sequence[str]
) -> Floats:
    if probabilities.shape != (len(targets), len(labels)) or len(targets) == 0:
        raise BlocksError(
            WHERE,
            "probabilities",
            f"the probabilities have shape {probabilities.shape} for {len(targets)} items and "
            f"{len(labels)} labels",
            "one row for each of one or more items, and one column for each label",
            "Evaluate the model on a snapshot with the model's labels",
        )
    outside = (targets < 0) | (targets >= len(labels))
    if outside.any():
        raise BlocksError(
            WHERE,
            "targets",
            f"row {int(outside.argmax())} has target {targets[outside.argmax()]}",
            f"0 to {len(labels) - 1}, an index into the {len(labels)} labels",
            "Evaluate the model on a snapshot with the model's labels",
        )
    exact = probabilities.astype(np.float64)
    proper = (exact >= 0).all(axis=1) & (np.abs(exact.sum(axis=1) - 1) <= 1e-3)
    if not proper.all():
        row = int(proper.argmin())
        raise BlocksError(
            WHERE,
            "probabilities",
            f"row {row} has sum {exact[row].sum():.6g} and minimum {exact[row].min():.6g}",
            "numbers of at least 0 with sum 1",
            "Change the model so that it returns probabilities, not logits",
        )
    return exact
