"""Metrics of a classifier's probabilities on a split, each number with its uncertainty.

Definitions are those of scikit-learn with ``zero_division=0``. For a class that a split lacks:

- recall and precision are 0, even if the class is predicted;
- balanced accuracy is the mean recall over the classes that occur as targets;
- macro F1 is the mean over the classes that occur as target or as prediction;
- average precision is 0.

Intervals are 95 % percentile bootstrap intervals over items (Efron 1979): a resample draws as many
items as the split has, with replacement, and each measure is computed again. A per-class interval
leaves out resamples without targets of the class (recall) or without predictions of the class
(precision). The method has two limits. A measure that is perfect on the split gets an interval of
width zero. The interval of the calibration error tends to be too high, because resampling adds
noise to every bin.
"""

# decision 51

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.heads.interval_estimates import IntervalEstimate
from tfhub_blocks.records.base.errors import BlocksError

WHERE = "evaluate"
RELIABILITY_BINS = 15
PERCENTILES = (2.5, 97.5)
MEASURES = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "log_loss",
    "expected_calibration_error",
)

Floats = NDArray[np.float64]
Integers = NDArray[np.integer]


@dataclass(frozen=True)
class ClassMetrics:
    """The metrics of one class against all others."""

    label: str
    support: int  # items whose target it is
    precision: IntervalEstimate
    recall: IntervalEstimate
    average_precision: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in their order, ready for JSON."""
        return {
            "label": self.label,
            "support": self.support,
            "precision": self.precision.as_dict(),
            "recall": self.recall.as_dict(),
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
    a few values for each item, and two values for each class and resample.

    Args:
        probabilities: ``[items, classes]``, rows summing to 1.
        targets: ``[items]``, indexes into the labels.
        labels: The label of each class.
        resamples: Bootstrap resamples of items.
        seed: The seed of the resampling.

    Raises:
        BlocksError: The arguments contain no item, shapes that do not fit, a target that is no
            class, rows that are no probabilities, or no resample.
    """
    _check_resamples(resamples)
    probabilities = _checked(probabilities, targets, labels)
    outcomes = _Outcomes(probabilities, targets)
    once = np.ones(len(targets))
    point = outcomes.measured(once)
    summary = np.empty((resamples, len(point)))
    per_class = np.empty((resamples, 2, len(labels)))
    for index, times in enumerate(resampled(len(targets), resamples, seed)):
        summary[index] = outcomes.measured(times)
        per_class[index] = outcomes.precision_and_recall(times)
    bounds = np.percentile(summary, PERCENTILES, axis=0)
    accuracy, balanced_accuracy, macro_f1, log_loss, calibration_error = (
        IntervalEstimate(*map(float, each)) for each in zip(point, *bounds, strict=True)
    )
    confusion = np.zeros((len(labels), len(labels)), np.int64)
    np.add.at(confusion, (targets, outcomes.predicted), 1)
    support = confusion.sum(axis=1)
    return ClassificationMetrics(
        items=len(targets),
        accuracy=accuracy,
        balanced_accuracy=balanced_accuracy,
        macro_f1=macro_f1,
        log_loss=log_loss,
        expected_calibration_error=calibration_error,
        majority_share=float(support.max() / len(targets)),
        classes=_class_metrics(outcomes, per_class, probabilities, labels, support),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        reliability=outcomes.reliability(),
    )


def resampled(items: int, resamples: int, seed: int = 0) -> Iterator[Floats]:
    """Yield for each resample how often each item is drawn, ``[items]``.

    Equal arguments give equal resamples.
    """
    random = np.random.default_rng(seed)
    for _ in range(resamples):
        drawn = random.integers(items, size=items)
        yield np.bincount(drawn, minlength=items).astype(np.float64)


def differences(
    probabilities: NDArray[np.floating],
    others: NDArray[np.floating],
    targets: Integers,
    labels: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, IntervalEstimate]:
    """Return the difference between two classifiers in each of ``MEASURES``, on the same items.

    The difference is the value of the first classifier minus that of the second. Intervals are
    those of the difference, over the resamples that ``measure`` draws. An item counts equally often
    for both classifiers, so items that are hard for both do not widen the interval. If both answer
    identically, the interval has width zero.

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
    both = (_checked(answered, targets, labels) for answered in (probabilities, others))
    one, other = (_Outcomes(answered, targets) for answered in both)
    once = np.ones(len(targets))
    point = one.measured(once) - other.measured(once)
    drawn = [
        one.measured(times) - other.measured(times)
        for times in resampled(len(targets), resamples, seed)
    ]
    bounds = np.percentile(drawn, PERCENTILES, axis=0)
    found = zip(MEASURES, point, *bounds, strict=True)
    return {name: IntervalEstimate(*map(float, estimate)) for name, *estimate in found}


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
        of_target = probabilities[np.arange(len(targets)), targets]
        smallest = np.finfo(np.float64).eps
        self.surprise = -np.log(np.clip(of_target, smallest, 1 - smallest))
        self.edges = np.linspace(0, 1, RELIABILITY_BINS + 1)
        self.bin = np.searchsorted(self.edges[1:-1], self.confidence, side="left")

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
        occurs = support > 0
        known = support + predictions > 0
        # Guo et al. 2017, equation 3: the fraction of a bin cancels against the bin's mean.
        gaps = np.bincount(self.bin, times * (self.hit - self.confidence), RELIABILITY_BINS)
        return np.array(
            [
                hits.sum() / total,
                (hits[occurs] / support[occurs]).mean(),
                (2 * hits[known] / (support + predictions)[known]).mean(),
                (times * self.surprise).sum() / total,
                np.abs(gaps).sum() / total,
            ]
        )

    def precision_and_recall(self, times: Floats) -> Floats:
        """Return ``[2, classes]``, NaN for a class without predictions or without targets."""
        hits, support, predictions = self.counts(times)
        fractions = np.full((2, self.classes), np.nan)
        np.divide(hits, predictions, out=fractions[0], where=predictions > 0)
        np.divide(hits, support, out=fractions[1], where=support > 0)
        return fractions

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


def _class_metrics(
    outcomes: _Outcomes,
    resampled: Floats,
    probabilities: Floats,
    labels: Sequence[str],
    support: NDArray[np.int64],
) -> tuple[ClassMetrics, ...]:
    point = np.nan_to_num(outcomes.precision_and_recall(np.ones(len(outcomes.targets))))

    def estimate(kind: int, index: int) -> IntervalEstimate:
        defined = resampled[:, kind, index]
        defined = defined[~np.isnan(defined)]
        low, high = np.percentile(defined, PERCENTILES) if len(defined) else (0.0, 0.0)
        return IntervalEstimate(float(point[kind, index]), float(low), float(high))

    rows = []
    for index, label in enumerate(labels):
        curve = _curve(label, probabilities[:, index], outcomes.targets == index, most_points=2)
        precision, recall = estimate(0, index), estimate(1, index)
        rows.append(
            ClassMetrics(label, int(support[index]), precision, recall, curve.average_precision)
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
