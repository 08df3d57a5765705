"""The rule for all sizes of tasks, and the rate over a training."""

import numpy as np
import pytest

from tfhub_blocks.compute.heads.feature_splits import class_weights
from tfhub_blocks.compute.tuning.learning_schedule import default_schedule
from tfhub_blocks.compute.tuning.tuning_targets import mixed, soft_targets


@pytest.mark.parametrize("items", [1, 31, 200, 1999, 2000, 20_000, 200_000, 1_000_000])
def test_every_size_of_task_gets_a_training_that_can_be_paid_for(items: int) -> None:
    schedule = default_schedule(items, classes=10, blocks=8)

    assert schedule.steps_per_epoch * schedule.batch_size <= items
    assert 3 <= schedule.epochs <= 30
    assert 30 <= schedule.steps < 13_000
    assert 1 <= schedule.warm_up_steps < schedule.steps
    assert schedule.block_decay**7 >= 0.08
    assert 0 < schedule.average_decay < 1


def test_the_rate_rises_then_falls_to_nothing() -> None:
    schedule = default_schedule(2_000, 10, 4)
    rates = [schedule.rate_at(step) for step in range(schedule.steps)]
    top = schedule.warm_up_steps - 1

    assert rates[top] == schedule.learning_rate == max(rates)
    assert np.all(np.diff(rates[: top + 1]) > 0)
    assert np.all(np.diff(rates[top + 1 :]) < 0)
    assert 0 < rates[-1] < 1e-3 * schedule.learning_rate


def test_what_is_given_counts_and_what_is_none_does_not() -> None:
    schedule = default_schedule(1_000, 2, 4, epochs=7, batch_size=5000)
    assert (schedule.epochs, schedule.batch_size, schedule.label_smoothing) == (7, 1_000, 0.0)
    changed = schedule.replaced(learning_rate=0.1, mixup=None)
    assert (changed.learning_rate, changed.mixup) == (0.1, 0.0)


def test_smoothing_spreads_a_share_over_all_classes() -> None:
    soft = soft_targets(np.array([2, 0]), 4, 0.2)
    np.testing.assert_allclose(soft, [[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]])


def test_each_class_weighs_the_same_in_all() -> None:
    targets = np.array([0] * 6 + [1] * 2)
    weights = class_weights(targets, 2)
    assert weights[targets].mean() == 1
    assert weights[0] * 6 == weights[1] * 2


def test_mixing_blends_items_and_labels_alike_by_the_seed() -> None:
    rows = np.eye(8, dtype=np.float32)
    soft = soft_targets(np.arange(8), 8, 0.0)

    blended, labels = mixed(rows, soft, 0.4, (1, 2))

    np.testing.assert_array_equal(blended, labels)
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    assert not np.array_equal(labels, soft)
    np.testing.assert_array_equal(blended, mixed(rows, soft, 0.4, (1, 2))[0])
