import itertools
import json
import tracemalloc

import numpy as np
import pytest
from scipy.stats import binom, bootstrap
from sklearn import metrics as reference

from tfhub_blocks.compute.evaluation.classification_metrics import (
    MEASURES,
    IntervalEstimate,
    differences,
    measure,
    most_confident_mistakes,
    precision_recall_curves,
)
from tfhub_blocks.records.base.errors import BlocksError

# Items, classes, classes that are never a target, classes that are never predicted.
CASES = [
    pytest.param(200, 2, [], [], id="two-classes"),
    pytest.param(500, 7, [], [], id="many-classes"),
    pytest.param(120, 5, [3], [], id="class-without-items"),
    pytest.param(120, 5, [], [0], id="class-never-predicted"),
    pytest.param(120, 5, [2, 4], [1, 4], id="class-without-either"),
    pytest.param(1, 3, [], [], id="one-item"),
]
EXACT = {"rel": 1e-12, "abs": 1e-12}


def answers(items, classes, no_targets=(), no_predictions=(), seed=0):
    random = np.random.default_rng(seed)
    targets = random.choice([c for c in range(classes) if c not in no_targets], items)
    logits = random.normal(size=(items, classes)) + 1.5 * np.eye(classes)[targets]
    logits[:, list(no_predictions)] = -20
    # Rounded, so that scores tie.
    scores = np.exp(logits.round(1))
    return scores / scores.sum(axis=1, keepdims=True), targets


def names(classes):
    return [f"class {index}" for index in range(classes)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("items", "classes", "no_targets", "no_predictions"), CASES)
def test_measures_are_those_of_scikit_learn(items, classes, no_targets, no_predictions):
    probabilities, targets = answers(items, classes, no_targets, no_predictions)
    found = measure(probabilities, targets, names(classes), resamples=2)

    predicted, every = probabilities.argmax(axis=1), range(classes)
    expected = {
        "accuracy": reference.accuracy_score(targets, predicted),
        "balanced_accuracy": reference.balanced_accuracy_score(targets, predicted),
        "macro_f1": reference.f1_score(targets, predicted, average="macro", zero_division=0),
        "log_loss": reference.log_loss(targets, probabilities, labels=every),
    }
    for name, value in expected.items():
        assert getattr(found, name).value == pytest.approx(value, **EXACT), name
    assert found.majority_share == np.bincount(targets).max() / items
    confusion = reference.confusion_matrix(targets, predicted, labels=every)
    assert found.confusion == tuple(map(tuple, confusion.tolist()))

    precision, recall, _, support = reference.precision_recall_fscore_support(
        targets, predicted, labels=every, zero_division=0
    )
    for index, each in enumerate(found.classes):
        assert each.label == f"class {index}"
        assert each.support == support[index]
        assert (each.recall is None) == (each.average_precision is None) == (not support[index])
        assert (each.precision is None) == (index not in predicted)
        if each.precision:
            assert each.precision.value == pytest.approx(precision[index], **EXACT)
        if not each.recall:
            continue
        assert each.recall.value == pytest.approx(recall[index], **EXACT)
        average = reference.average_precision_score(targets == index, probabilities[:, index])
        assert each.average_precision == pytest.approx(average, **EXACT)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("items", "classes", "no_targets", "no_predictions"), CASES)
def test_curves_are_those_of_scikit_learn(items, classes, no_targets, no_predictions):
    probabilities, targets = answers(items, classes, no_targets, no_predictions)
    for index, curve in enumerate(precision_recall_curves(probabilities, targets, names(classes))):
        expected = reference.precision_recall_curve(targets == index, probabilities[:, index])
        np.testing.assert_allclose(curve.precision, expected[0], atol=1e-12)
        np.testing.assert_allclose(curve.recall, expected[1], atol=1e-12)
        np.testing.assert_allclose(curve.thresholds, expected[2], atol=1e-12)


def test_thinned_curve_keeps_its_ends_and_its_average_precision():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), 5000)
    targets = random.integers(3, size=5000)
    for whole, thin in zip(
        precision_recall_curves(probabilities, targets, names(3), 10_000),
        precision_recall_curves(probabilities, targets, names(3), 50),
        strict=True,
    ):
        assert len(thin.recall) == 50
        assert (thin.recall[0], thin.recall[-1]) == (1.0, 0.0)
        assert set(zip(thin.recall, thin.precision, strict=True)) <= set(
            zip(whole.recall, whole.precision, strict=True)
        )
        assert thin.average_precision == whole.average_precision


def test_log_loss_of_an_impossible_target_is_finite():
    found = measure(np.array([[1.0, 0.0]]), np.array([1]), names(2), resamples=1)
    expected = reference.log_loss([1], [[1.0, 0.0]], labels=[0, 1])
    assert found.log_loss.value == pytest.approx(expected, rel=1e-12)


def test_calibration_error_is_the_weighted_gap_of_its_bins():
    probabilities, targets = answers(400, 4)
    found = measure(probabilities, targets, names(4), resamples=1)
    confidence, hit = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
    error = 0.0
    for index, each in enumerate(found.reliability):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        assert each.count == inside.sum()
        assert (each.low, each.high) == pytest.approx((index / 15, (index + 1) / 15))
        if each.count:
            assert each.confidence == pytest.approx(confidence[inside].mean())
            assert each.accuracy == pytest.approx(hit[inside].mean())
        error += each.count / 400 * abs(each.accuracy - each.confidence)
    assert found.expected_calibration_error.value == pytest.approx(error, abs=1e-12)


def test_confidence_on_an_edge_belongs_to_the_bin_below():
    edge = np.linspace(0, 1, 16)[9]
    found = measure(np.array([[edge, 1 - edge]]), np.array([0]), names(2), resamples=1)
    assert [each.high for each in found.reliability if each.count] == [edge]


def test_calibrated_answers_have_a_small_calibration_error():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(4), 50_000)
    targets = (probabilities.cumsum(axis=1) < random.random((50_000, 1))).sum(axis=1)
    honest = measure(probabilities, targets, names(4), resamples=1)
    sharpened = probabilities**3 / (probabilities**3).sum(axis=1, keepdims=True)
    boastful = measure(sharpened, targets, names(4), resamples=1)
    assert honest.expected_calibration_error.value < 0.01
    assert boastful.expected_calibration_error.value > 0.1


def test_accuracy_interval_is_that_of_the_binomial():
    hits = np.arange(1000) < 800
    probabilities = np.where(hits[:, np.newaxis], [0.9, 0.1], [0.1, 0.9])
    found = measure(probabilities, np.zeros(1000, int), names(2), resamples=4000).accuracy
    margin = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert (found.low, found.high) == pytest.approx((0.8 - margin, 0.8 + margin), abs=0.003)


def test_intervals_cover_the_truth_at_least_as_often_as_they_say():
    truth = measure(*answers(200_000, 3, seed=1), names(3), resamples=1)
    covered = np.zeros(5)
    for seed in range(100):
        found = measure(*answers(150, 3, seed=seed + 2), names(3), resamples=200)
        for index, name in enumerate(
            ["accuracy", "balanced_accuracy", "macro_f1", "log_loss", "classes"]
        ):
            interval, expected = getattr(found, name), getattr(truth, name)
            if name == "classes":
                interval, expected = interval[1].recall, expected[1].recall
            covered[index] += interval.low <= expected.value <= interval.high
    assert (covered >= 90).all(), covered


@pytest.mark.parametrize("sizes", [(3, 3), (2, 8), (6, 6)])
def test_means_over_few_items_of_classes_cover_the_truth(sizes):
    """Computed over all outcomes of two classes: none is rarer covered than in 93 %."""
    intervals = {}
    for hits in np.ndindex(sizes[0] + 1, sizes[1] + 1):
        is_first = [
            *(hits[0] * [True] + (sizes[0] - hits[0]) * [False]),
            *(hits[1] * [False] + (sizes[1] - hits[1]) * [True]),
        ]
        probabilities = np.where(np.array(is_first)[:, np.newaxis], [0.9, 0.1], [0.1, 0.9])
        targets = np.repeat([0, 1], sizes)
        intervals[hits] = measure(probabilities, targets, names(2), 300).balanced_accuracy
    for recalls in itertools.product([0.3, 0.5, 0.7, 0.9, 0.97, 1.0], repeat=2):
        covered = sum(
            binom.pmf(hits[0], sizes[0], recalls[0]) * binom.pmf(hits[1], sizes[1], recalls[1])
            for hits, found in intervals.items()
            if found.low - 1e-9 <= sum(recalls) / 2 <= found.high + 1e-9
        )
        assert covered >= 0.93, recalls


def test_no_interval_collapses_where_all_are_right():
    probabilities = np.array([[0.98, 0.02]] * 5 + [[0.02, 0.98]] * 4)
    targets = np.array([0] * 5 + [1] * 4)
    found = measure(probabilities, targets, names(2))
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((0.6637, 1.0), abs=1e-4)
    for name in ("balanced_accuracy", "macro_f1"):
        assert getattr(found, name).low < 0.7
        assert getattr(found, name).high == pytest.approx(1.0)
    assert found.log_loss.high > 0.5
    assert found.expected_calibration_error.high > 0.2
    assert found.classes[1].recall.low == pytest.approx(0.3976, abs=1e-4)


def test_class_that_was_not_tested_has_no_figure():
    found = measure(np.array([[0.6, 0.3, 0.1]] * 4), np.array([0, 0, 0, 1]), names(3), 50)
    untested = found.classes[2]
    assert (untested.support, untested.recall, untested.precision) == (0, None, None)
    assert untested.average_precision is None
    assert untested.as_dict()["recall"] is None
    assert found.classes[1].recall.value == 0


def test_same_seed_gives_the_same_numbers_and_another_seed_other_ones():
    probabilities, targets = answers(200, 3)
    first, again = (measure(probabilities, targets, names(3), 50) for _ in range(2))
    assert first == again
    assert measure(probabilities, targets, names(3), 50, seed=1) != first


def test_memory_does_not_grow_with_items_times_resamples():
    probabilities, targets = answers(10_000, 10)
    tracemalloc.start()
    measure(probabilities, targets, names(10), resamples=500)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000  # 500 resamples of 10,000 items would be 40 MB


def test_as_dict_is_json_in_a_stable_order():
    probabilities, targets = answers(50, 3)
    found = measure(probabilities, targets, names(3), resamples=5)
    loaded = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert list(loaded) == [
        "items",
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "log_loss",
        "expected_calibration_error",
        "majority_share",
        "classes",
        "confusion",
        "reliability",
    ]
    assert loaded["accuracy"]["value"] == found.accuracy.value
    assert loaded["classes"][2]["recall"]["low"] == found.classes[2].recall.low
    (curve, *_) = precision_recall_curves(probabilities, targets, names(3))
    assert json.loads(json.dumps(curve.as_dict()))["recall"] == curve.recall.tolist()


def test_most_confident_mistakes_come_first():
    probabilities = np.array([[0.6, 0.4], [0.2, 0.8], [0.9, 0.1], [0.4, 0.6], [0.95, 0.05]])
    targets = np.array([1, 0, 1, 0, 0])
    assert most_confident_mistakes(probabilities, targets, 3).tolist() == [2, 1, 0]
    assert most_confident_mistakes(probabilities, targets, 10).tolist() == [2, 1, 0, 3]
    assert most_confident_mistakes(probabilities[4:], targets[4:], 3).tolist() == []


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [
        (np.zeros((0, 2)), [], "one or more items"),
        (np.ones((3, 2)) / 2, [0, 1], r"shape \(3, 2\)"),
        (np.ones((2, 2)) / 2, [0, 2], "row 1 has target 2"),
        (np.ones((2, 2)) / 2, [-1, 0], "row 0 has target -1"),
        (np.array([[0.5, 0.5], [2.0, -1.0]]), [0, 0], "not logits"),
        (np.array([[0.5, 0.5], [np.nan, 0.5]]), [0, 0], "row 1 has sum nan"),
    ],
)
def test_answers_that_cannot_be_measured_are_refused(probabilities, targets, message):
    for refuse in (measure, precision_recall_curves):
        with pytest.raises(BlocksError, match=message):
            refuse(probabilities, np.array(targets, int), names(2))


def test_no_resamples_are_refused():
    with pytest.raises(BlocksError, match="resamples"):
        measure(np.ones((1, 2)) / 2, np.array([0]), names(2), resamples=0)


def pair(items=400, classes=3, seed=3):
    """Answers of a model and of a champion, hard and easy for both on much the same items."""
    random = np.random.default_rng(seed)
    targets = random.integers(classes, size=items)
    hardness = random.normal(size=(items, classes))
    found = []
    for sharpness in (1.3, 1.0):
        logits = hardness + random.normal(0, 0.5, (items, classes))
        scores = np.exp(logits + sharpness * np.eye(classes)[targets])
        found.append(scores / scores.sum(axis=1, keepdims=True))
    return (*found, targets, names(classes))


def test_difference_is_that_of_both_and_its_interval_is_of_pairs():
    """Against the normal interval of McNemar's two kinds of pairs, and scipy's paired bootstrap."""
    ours, theirs, targets, labels = pair()
    found = differences(ours, theirs, targets, labels, resamples=4000)
    both = [measure(it, targets, labels, resamples=2) for it in (ours, theirs)]
    for name in MEASURES:
        one, other = (getattr(it, name).value for it in both)
        assert found[name].value == pytest.approx(one - other, **EXACT), name

    hits = [it.argmax(axis=1) == targets for it in (ours, theirs)]
    gained, lost = int((hits[0] & ~hits[1]).sum()), int((~hits[0] & hits[1]).sum())
    items, change = len(targets), found["accuracy"]
    spread = np.sqrt(gained + lost - (gained - lost) ** 2 / items) / items
    assert change.value == pytest.approx((gained - lost) / items)
    assert change.low == pytest.approx(change.value - 1.96 * spread, abs=0.004)
    assert change.high == pytest.approx(change.value + 1.96 * spread, abs=0.004)
    alone = np.hypot(*(it.std() / np.sqrt(items) for it in hits))
    assert spread < 0.8 * alone  # so much is won by pairing

    def loss(index):
        return -np.log(ours[index, targets[index]]) + np.log(theirs[index, targets[index]])

    sample = loss(np.arange(items))
    reference_interval = bootstrap(
        (sample,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = reference_interval.high - reference_interval.low
    change = found["log_loss"]
    assert [change.low, change.high] == pytest.approx(list(reference_interval), abs=0.1 * width)
    assert change.low < reference_interval.low


def test_differences_do_not_collapse_where_both_are_right():
    ours, theirs = np.tile([0.9, 0.1], (9, 1)), np.tile([0.8, 0.2], (9, 1))
    found = differences(ours, theirs, np.zeros(9, int), names(2), 200)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert found[name].low < -0.25
        assert found[name].high > 0.25
    assert found["log_loss"].low < found["log_loss"].value < found["log_loss"].high


def test_nothing_differs_from_itself():
    ours, _, targets, labels = pair(items=30)
    assert set(differences(ours, ours, targets, labels, 100).values()) == {
        IntervalEstimate(0, 0, 0)
    }
