"""The better of start, trained and blends of them comes out, and the record says by how much."""

import numpy as np
import pytest

from tfhub_blocks.compute.cutting.encoder_cuts import Cut, CutEncoder
from tfhub_blocks.compute.heads.linear_head import Split, fit_head
from tfhub_blocks.compute.tuning.blend_comparison import (
    SHARES,
    blended,
    changes_between,
    choose_blend,
)
from tfhub_blocks.compute.tuning.classifier import Classifier, feature_scale, features_of


@pytest.fixture
def classifier(tunable: CutEncoder, cut: Cut, data, classifier_of):
    """With the linear probe as its head."""
    built, upper = classifier_of(tunable, cut), tunable.upper(cut)
    splits = [Split(features_of(upper, i), i.targets, i.ids) for i in (data.train, data.validation)]
    probe = fit_head(*splits, built.labels).head
    built.weights.assign(probe.weights)
    built.bias.assign(probe.bias)
    return built


def spoilt(values: list[np.ndarray]) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [value + random.normal(0, 3, value.shape).astype(np.float32) for value in values]


def test_a_start_that_is_better_comes_out_to_the_bit(classifier, data) -> None:
    start = classifier.values()

    comparison = choose_blend(classifier, start, spoilt(start), data.validation)

    assert comparison.chosen.share == 0
    assert comparison.told().startswith("the start is better than any blend with the trained")
    assert (comparison.log_loss_change.low, comparison.log_loss_change.high) == (0, 0)
    for ours, theirs in zip(classifier.values(), start, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_trained_that_is_better_comes_out_with_an_interval_of_its_gain(classifier, data) -> None:
    good = classifier.values()
    bad = spoilt(good)

    comparison = choose_blend(classifier, bad, good, data.validation)

    assert comparison.chosen.share == 1
    assert [each.share for each in comparison.candidates] == list(SHARES)
    change = comparison.log_loss_change
    assert change.low < change.value < change.high < 0
    assert change.value == pytest.approx(
        comparison.chosen.log_loss - comparison.candidates[0].log_loss
    )
    assert "the blend with 100% trained is best: validation log-loss" in comparison.told()
    for ours, theirs in zip(classifier.values(), good, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_blend_lies_between_weight_by_weight() -> None:
    start, trained = [np.float32([0, 1])], [np.float32([1, 3])]
    np.testing.assert_allclose(blended(start, trained, 0.4)[0], [0.4, 1.8], rtol=1e-6)


def test_changes_have_an_interval_where_all_answers_are_right() -> None:
    targets = np.arange(9) % 2
    start = np.where(np.eye(2)[targets] > 0, 2.0, 0.0)
    loss, accuracy = changes_between(start, 2 * start, targets)
    assert loss.low < loss.value < loss.high
    assert accuracy.value == 0
    assert accuracy.low < -0.3
    assert accuracy.high > 0.3
    wrong = np.where(np.arange(9)[:, None] < 2, start[:, ::-1], start)
    _, gained = changes_between(wrong, start, targets)
    # Two of nine differ: McNemar's exact test does not reject equality.
    assert gained.value == pytest.approx(2 / 9)
    assert gained.low < 0


@pytest.mark.parametrize("factor", [1.0, 1e-3, 300.0])
def test_the_scale_of_the_features_changes_no_head(
    factor: float, tunable: CutEncoder, cut: Cut, classifier, data
) -> None:
    """It is a power of two, so that a probe that wins is served to the bit."""
    head, upper = classifier.head(2.0), tunable.trainable_upper(cut)
    scale = feature_scale(features_of(upper, data.validation) * np.float32(factor))

    scaled = Classifier(upper, tunable.variables_above(cut), head, scale)

    np.testing.assert_array_equal(scaled.head(2.0).weights, head.weights)
    logits = classifier.logits_of(data.validation)
    np.testing.assert_allclose(scaled.logits_of(data.validation), logits, atol=1e-5)
    assert not np.array_equal(scaled.weights, head.weights) or scale == 1
