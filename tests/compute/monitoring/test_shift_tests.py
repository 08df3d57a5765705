"""Tests of shifts: their level, ties, sequences of looks, and the map that they compare by."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import kstest

from tfhub_blocks.compute.monitoring.drift_map import ALL_STEPS, fit_drift_map
from tfhub_blocks.compute.monitoring.repeated_looks import bet
from tfhub_blocks.compute.monitoring.shift_tests import compare_groups
from tfhub_blocks.records.base.errors import BlocksError

BLOCKS = {"mean": slice(0, 4), "kernel": slice(4, 10), "scores": slice(10, 16)}


def numbers(random, count, shift=0.0):
    return (random.normal(size=(count, 16)) + shift).astype(np.float32)


def scores_of(vectors, classes=3):
    powers = np.exp(vectors[:, :classes])
    return powers / powers.sum(axis=1, keepdims=True)


def test_p_value_without_a_shift_is_uniform_on_its_grid_and_a_shift_is_found():
    random = np.random.default_rng(3)
    values = [
        compare_groups(numbers(random, 40), numbers(random, 20), BLOCKS, random, 19).p
        for _ in range(300)
    ]
    # With ties of the smallest rank, a p-value is at most as small as a uniform one.
    assert {round(p * 20) for p in values} <= set(range(1, 21))
    for level in (0.05, 0.2, 0.5):
        allowed = level + 3 * np.sqrt(level * (1 - level) / 300)
        assert np.mean(np.array(values) <= level) <= allowed
    found = compare_groups(numbers(random, 40), numbers(random, 20, 1.5), BLOCKS, random, 199)
    assert found.p == 1 / 200
    assert set(found.parts) == set(BLOCKS)


def test_identical_items_show_no_shift_whatever_their_rounding():
    random = np.random.default_rng(4)
    row = numbers(random, 1)
    reference, current = np.repeat(row, 70, axis=0), np.repeat(row, 30, axis=0)
    values = [compare_groups(reference, current, BLOCKS, random, 99).p for _ in range(40)]
    assert np.mean(np.array(values) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 40)


def test_features_that_are_mostly_zero_need_no_treatment():
    random = np.random.default_rng(5)

    def draw(count):
        return np.maximum(numbers(random, count) - 2, 0)

    values = [compare_groups(draw(60), draw(20), BLOCKS, random, 39).p for _ in range(200)]
    assert np.mean(np.array(values) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_smoothed_p_values_of_looks_at_one_reference_are_uniform_and_uncorrelated():
    random = np.random.default_rng(6)
    values = []
    for _ in range(60):
        pool, looks = numbers(random, 30), []
        for _ in range(6):
            current = numbers(random, 10)
            looks.append(compare_groups(pool, current, BLOCKS, random, 39).uniform_p)
            pool = np.concatenate([pool, current])
        values.append(looks)
    table = np.array(values)
    assert kstest(table.ravel(), "uniform").pvalue > 0.01
    apart = np.corrcoef(table[:, :-1].ravel(), table[:, 1:].ravel())[0, 1]
    assert abs(apart) < 3 / np.sqrt(table[:, 1:].size)


def test_a_bet_has_the_expectation_one():
    edges = np.geomspace(1e-300, 1, 200_001)
    areas = [bet(high) * (high - low) for low, high in pairwise(edges)]
    assert sum(areas) == pytest.approx(1, abs=0.01)
    assert bet(1.0) == 0.5


def test_a_smaller_shift_is_detectable_with_more_items():
    random = np.random.default_rng(7)
    few, many = (
        compare_groups(numbers(random, 200), numbers(random, count), BLOCKS, random, 199).detectable
        for count in (20, 150)
    )
    assert many < few < np.inf
    none = compare_groups(numbers(random, 20), numbers(random, 5), BLOCKS, random, 9)
    assert none.detectable == np.inf, "10 arrangements never reach the level"


def test_the_detectable_shift_is_found_as_often_as_stated():
    random = np.random.default_rng(8)
    blocks = {"mean": slice(0, 16)}
    length = compare_groups(
        numbers(random, 100), numbers(random, 40), blocks, random, 199
    ).detectable
    found = []
    for _ in range(100):
        direction = random.normal(size=16)
        shifted = numbers(random, 40) + np.float32(length * direction / np.linalg.norm(direction))
        p = compare_groups(numbers(random, 100), shifted.astype("f"), blocks, random, 99).p
        found.append(p <= 0.05)
    assert abs(np.mean(found) - 0.8) < 3 * np.sqrt(0.8 * 0.2 / 100) + 0.05


def test_map_whitens_training_items_and_names_its_blocks():
    random = np.random.default_rng(9)
    vectors = np.maximum(random.normal(size=(400, 30)), 0).astype(np.float32)
    found = fit_drift_map(vectors, scores_of(vectors))
    whitened = found.whitened(vectors)
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(whitened.shape[1]), atol=0.01)
    table = found.numbers(whitened, scores_of(vectors))
    assert list(found.blocks) == ["mean", "kernel", "scores"]
    assert found.blocks["scores"].stop == table.shape[1]
    again = fit_drift_map(vectors, scores_of(vectors))
    np.testing.assert_array_equal(again.numbers(whitened, scores_of(vectors)), table)


def test_many_classes_give_a_bounded_number_of_columns():
    random = np.random.default_rng(10)
    vectors = random.normal(size=(50, 600)).astype(np.float32)
    found = fit_drift_map(vectors, scores_of(vectors, 600))
    assert found.blocks["scores"].stop - found.blocks["scores"].start == ALL_STEPS


def test_constant_features_are_refused():
    with pytest.raises(BlocksError, match="the features of all 20 training items are equal"):
        fit_drift_map(np.ones((20, 4), np.float32), np.full((20, 2), 0.5))
