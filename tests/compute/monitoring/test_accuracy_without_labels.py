"""Estimated and measured accuracy, class shares, neighbours and Holm's correction."""

import numpy as np
import pytest

from tfhub_blocks.compute.monitoring.accuracy_estimates import (
    ASSUMPTIONS,
    METHODS,
    Reference,
    estimate_accuracy,
    label_shares,
    self_test,
    threshold,
    transport,
)
from tfhub_blocks.compute.monitoring.labelled_sample import measure_accuracy, request_labels
from tfhub_blocks.compute.monitoring.moved_items import class_shares, holm, nearest


def answered(random, count, width=3.0, classes=3):
    """Return calibrated probabilities, and labels that follow them."""
    powers = np.exp(random.normal(size=(count, classes)) * width)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    targets = (probabilities.cumsum(axis=1) > random.uniform(size=(count, 1))).argmax(axis=1)
    return probabilities, targets


def test_estimates_of_items_like_the_reference_contain_their_accuracy():
    random = np.random.default_rng(1)
    reference = Reference(*answered(random, 800))
    current, targets = answered(random, 600)
    accuracy = (current.argmax(axis=1) == targets).mean()
    found = estimate_accuracy(reference, current, random)
    assert [each.method for each in found] == list(METHODS) == list(ASSUMPTIONS)
    for each in found:
        assert each.low <= accuracy <= each.high, each
        assert each.low <= each.value <= each.high
    wider = estimate_accuracy(reference, current, random, dict.fromkeys(METHODS, 0.1))
    for narrow, wide in zip(found, wider, strict=True):
        assert wide.high - wide.low > narrow.high - narrow.low
        assert wide.self_test_error == 0.1


def test_less_confident_answers_lower_the_estimates():
    random = np.random.default_rng(2)
    reference = Reference(*answered(random, 500))
    current, _ = answered(random, 500, width=0.5)
    before = reference.right.mean()
    for name in ("transport", "threshold", "confidence"):
        assert METHODS[name](reference, current) < before - 0.1, name


def test_threshold_of_a_reference_that_is_always_right():
    sure = Reference(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    assert threshold(sure, np.array([[0.85, 0.15], [0.6, 0.4]])) == 0.5
    assert transport(sure, np.array([[1.0, 0.0], [0.0, 1.0]])) == 1.0


def test_shares_of_labels_are_found_when_only_they_changed():
    random = np.random.default_rng(3)
    probabilities, targets = answered(random, 6000)
    rows = np.concatenate([np.flatnonzero(targets == 0)[:900], np.flatnonzero(targets == 1)[:100]])
    shares = label_shares(Reference(probabilities, targets), probabilities[rows])
    np.testing.assert_allclose(shares, [0.9, 0.1, 0], atol=0.05)


def test_self_test_states_an_error_for_each_method():
    random = np.random.default_rng(4)
    vectors = random.normal(size=(120, 3)) * 3

    def answer(features):
        powers = np.exp(features)
        return powers / powers.sum(axis=1, keepdims=True)

    errors = self_test(vectors, answer(vectors).argmax(axis=1), answer, random, 40, rounds=1)
    assert errors.keys() == METHODS.keys()
    assert all(0 <= error < 0.5 for error in errors.values())


@pytest.mark.parametrize("sharper", [0.5, 1.0, 1.8])
@pytest.mark.parametrize("labelled", [30, 20])
def test_labelled_sample_covers_the_accuracy_however_the_model_is_calibrated(sharper, labelled):
    random = np.random.default_rng(5)
    covered, errors = [], []
    for _ in range(150):
        probabilities, targets = answered(random, 400)
        stated = probabilities**sharper
        stated /= stated.sum(axis=1, keepdims=True)
        right = stated.argmax(axis=1) == targets
        request = request_labels(stated, 30, random)
        some = request.first(labelled)  # a labeller may stop early
        found = measure_accuracy(stated, some, right[some.rows])
        covered.append(found.low <= right.mean() <= found.high)
        errors.append(found.value - right.mean())
    assert np.mean(covered) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 150) - 0.02
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(150)


@pytest.mark.parametrize("kind", ["all wrong", "all right", "half right", "the sure ones wrong"])
@pytest.mark.parametrize("labels", [12, 30])
def test_interval_covers_the_accuracy_of_a_model_that_is_sure_of_mistakes(kind, labels):
    random = np.random.default_rng(8)
    covered = []
    for _ in range(150):
        doubt = random.uniform(0.6, 0.99, 300)
        right = {
            "all wrong": np.zeros(300, bool),
            "all right": np.ones(300, bool),
            "half right": random.random(300) < 0.5,
            "the sure ones wrong": random.random(300) < 0.95,
        }[kind]
        top = np.where(right, doubt, 0.995) if kind == "the sure ones wrong" else doubt
        probabilities = np.stack([top, 1 - top], axis=1)
        request = request_labels(probabilities, labels, random)
        found = measure_accuracy(probabilities, request, right[request.rows])
        assert found.low <= found.value <= found.high
        covered.append(found.low <= right.mean() <= found.high)
    assert np.mean(covered) >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 150)


def test_interval_of_equal_chances_without_a_mistake_is_that_of_a_plain_sample():
    probabilities = np.full((100, 2), [0.9, 0.1])
    request = request_labels(probabilities, 20, np.random.default_rng(9))
    wrong = measure_accuracy(probabilities, request, np.zeros(20, bool))
    assert wrong.value == pytest.approx(0, abs=1e-9)
    assert wrong.low == 0
    assert wrong.high == pytest.approx(1 - 0.025 ** (1 / 20))
    right = measure_accuracy(probabilities, request, np.ones(20, bool))
    assert right.value == pytest.approx(1)
    assert right.high == 1
    assert right.low == pytest.approx(0.025 ** (1 / 20))


def test_request_has_each_item_once_prefers_doubt_and_states_chances_that_add_up():
    random = np.random.default_rng(6)
    top = np.array([0.5] * 20 + [1.0] * 180)
    probabilities = np.stack([top, 1 - top], axis=1)
    drawn = np.zeros(200)
    for _ in range(300):
        request = request_labels(probabilities, 20, random)
        assert len(set(request.rows.tolist())) == 20
        drawn[request.rows] += 1 / 300
    chances = np.zeros(200)
    chances[request.rows] = request.chances
    assert drawn[:20].mean() > 5 * drawn[20:].mean() > 0
    np.testing.assert_allclose(drawn[request.rows], request.chances, atol=0.15)
    everything = request_labels(probabilities, 999, random)
    assert sorted(everything.rows.tolist()) == list(range(200))
    np.testing.assert_allclose(everything.chances, 1)


def test_class_shares_have_intervals_and_the_share_before():
    current = np.eye(2)[[0] * 30]
    reference = np.eye(2)[[0, 1]]
    first, second = class_shares(current, reference, ["a", "b"])
    assert (first.share, first.high, first.reference_share) == (1.0, 1.0, 0.5)
    assert first.low == pytest.approx(0.8843, abs=1e-4)
    assert (second.share, second.low) == (0.0, 0.0)
    assert second.high == pytest.approx(1 - 0.8843, abs=1e-4)


def test_nearest_item_is_the_nearest_and_not_the_item_itself():
    random = np.random.default_rng(7)
    items = random.normal(size=(30, 4)).astype(np.float32)
    others = random.normal(size=(50, 4)).astype(np.float32)
    distances = np.linalg.norm(items[:, None] - others, axis=2)
    found = nearest(items, others)
    assert found.rows.tolist() == distances.argmin(axis=1).tolist()
    np.testing.assert_allclose(found.distances, distances.min(axis=1), atol=1e-3)
    assert (nearest(items, items, same=True).rows != np.arange(30)).all()


def test_holms_correction_of_a_known_example():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})
