"""What a classifier's probabilities are worth on a split, each number with its uncertainty.

Definitions are scikit-learn's with ``zero_division=0``. For a class that a split lacks:

- recall is 0, and so is precision, whether or not the class is ever predicted;
- balanced accuracy (mean recall) is taken over the classes that occur as targets;
- macro F1 is taken over the classes that occur as target or as prediction;
- average precision is 0.

Intervals are 95 % percentile bootstrap intervals over items (Efron 1979): items are drawn with
replacement, as many as there are, and the measure is taken again. A per-class interval leaves out
resamples without that class (recall) or without a prediction of it (precision). Two limits of the
method: a measure that is perfect on the split gets an interval of width zero, and the calibration
error's interval tends to lie high, because resampling adds noise to every bin.
"""

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
    """How one class fares against the others."""

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
    """The items whose top probability lies in ``(low, high]``; means are 0 where there are none."""

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
    """Everything measured on one split. Classes are in the order of the labels."""

    items: int
    accuracy: IntervalEstimate
    balanced_accuracy: IntervalEstimate
    macro_f1: IntervalEstimate
    log_loss: IntervalEstimate
    expected_calibration_error: IntervalEstimate
    majority_share: float
    """Accuracy of always answering the most frequent class: the baseline."""
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Row: true class; column: predicted class."""
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
    """One class against the rest, from the lowest threshold to the highest.

    As scikit-learn's: the last point, recall 0 and precision 1, has no threshold.
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
    """Return all measures; the same arguments give the same numbers.

    Of equally probable classes the first is the prediction. Memory beyond the arguments is a few
    values an item, and two a class and resample.

    Args:
        probabilities: ``[items, classes]``, rows summing to 1.
        targets: ``[items]``, index into the labels.
        labels: One a class.
        resamples: Bootstrap resamples of items.
        seed: Of the resampling.

    Raises:
        BlocksError: No item, shapes that do not fit, a target that is no class, rows that are no
            probabilities, or no resample.
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
    """How often each item is drawn, ``[items]``, by resample; equal arguments draw alike."""
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
    """Return each of ``MEASURES`` of one classifier less that of another on the same items.

    Intervals are of the difference, over the very resamples that ``measure`` draws: an item counts
    for both as often, so what is hard for both does not widen them. Where both answer alike the
    interval has width zero.

    Args:
        probabilities: Of the one, ``[items, classes]``, as `measure` takes them.
        others: Of the other, for the same items and classes in the same order.
        targets: As `measure`.
        labels: As `measure`.
        resamples: As `measure`.
        seed: As `measure`.

    Raises:
        BlocksError: As `measure`.
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
    """Return each class's curve, thinned to at most ``most_points`` of its points.

    The points kept are evenly spaced along the whole curve and include both ends; average precision
    is that of the whole curve.

    Raises:
        BlocksError: As `measure`.
    """
    probabilities = _checked(probabilities, targets, labels)
    return tuple(
        _curve(label, probabilities[:, index], targets == index, most_points)
        for index, label in enumerate(labels)
    )


def most_confident_mistakes(
    probabilities: NDArray[np.floating], targets: Integers, count: int
) -> NDArray[np.intp]:
    """Return up to ``count`` items whose prediction is wrong, most confident first.

    Equally confident items keep their order.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != targets)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order[:count]]


class _Outcomes:
    """What became of each item, so that a resample only needs to weigh the items anew."""

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
        # Guo et al. 2017, equation 3: bin shares cancel against the bins' means.
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
        """Return ``[2, classes]``, NaN where nothing was predicted or nothing was there."""
        hits, support, predictions = self.counts(times)
        share = np.full((2, self.classes), np.nan)
        np.divide(hits, predictions, out=share[0], where=predictions > 0)
        np.divide(hits, support, out=share[1], where=support > 0)
        return share

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
    # As scikit-learn: recall is 1 at every threshold where there is nothing to find.
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
            WHERE, "resamples", f"it is {resamples}", "at least 1", "leave it out for 1000"
        )


def _checked(
    probabilities: NDArray[np.floating], targets: Integers, labels: Sequence[str]
) -> Floats:
    if probabilities.shape != (len(targets), len(labels)) or len(targets) == 0:
        raise BlocksError(
            WHERE,
            "probabilities",
            f"they have shape {probabilities.shape} for {len(targets)} items and "
            f"{len(labels)} labels",
            "one row for each of one or more items, one column for each label",
            "evaluate the model on the snapshot that it knows the labels of",
        )
    outside = (targets < 0) | (targets >= len(labels))
    if outside.any():
        raise BlocksError(
            WHERE,
            "targets",
            f"row {int(outside.argmax())} has target {targets[outside.argmax()]}",
            f"0 to {len(labels) - 1}, an index into the {len(labels)} labels",
            "evaluate the model on the snapshot that it knows the labels of",
        )
    exact = probabilities.astype(np.float64)
    proper = (exact >= 0).all(axis=1) & (np.abs(exact.sum(axis=1) - 1) <= 1e-3)
    if not proper.all():
        row = int(proper.argmin())
        raise BlocksError(
            WHERE,
            "probabilities",
            f"row {row} sums to {exact[row].sum():.6g}, its smallest is {exact[row].min():.6g}",
            "numbers from 0 that sum to 1",
            "make the model answer with probabilities, not logits",
        )
    return exact
