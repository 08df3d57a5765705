"""Tests of a shift between two groups of items, exact by permutation, and their combination.

Each test is a norm of the difference of the groups' means in one block of a ``DriftMap``. The same
permutations serve all tests, so the smallest p-value has an exact null distribution too (the
step-down method of Westfall and Young, 1993). Ties, such as features after ReLU, need no treatment:
permutations have the same ties.
"""

# decision 90

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 999
BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ShiftTest:
    """The result: a p-value for each test, and one for all together.

    ``detectable`` is the length of the shift of the mean, in standard deviations of one whitened
    axis, that a comparison of this size finds with the probability ``POWER``.
    """

    p: float
    parts: Mapping[str, float]
    detectable: float
    items: int
    reference_items: int


POWER = 0.8
POWER_DRAWS = 400


def test_shift(
    reference: NDArray[np.float32],
    current: NDArray[np.float32],
    blocks: Mapping[str, slice],
    random: np.random.Generator,
    permutations: int = PERMUTATIONS,
    smoothed: bool = False,
) -> ShiftTest:
    """Test whether two groups of items come from one distribution.

    Args:
        reference: The numbers of the reference items (``DriftMap.numbers``), [n, numbers].
        current: The numbers of the current items, [m, numbers].
        blocks: The columns of each test.
        random: Draws the permutations.
        permutations: Their number. The smallest p-value is 1 / (permutations + 1).
        smoothed: True to break ties of the combined p-value at random. It is then exactly uniform
            without a shift, as a sequence of looks requires.
    """
    pooled = np.concatenate([reference, current]) - reference.mean(axis=0)
    # Whether an item is current, for the observed groups and for each permutation.
    statistics = np.array(
        [
            _statistics(differences, blocks)
            for differences in _differences(pooled, len(current), random, permutations)
        ]
    ).reshape(-1, len(blocks))
    # For each test and each arrangement, the number of arrangements that are at least as extreme.
    ranks = np.stack([_at_least(column) for column in statistics.T], axis=1)
    smallest = ranks.min(axis=1)
    observed = smallest[0]
    if smoothed:
        less, equal = (smallest < observed).sum(), (smallest == observed).sum()
        p = float((less + random.uniform() * equal) / len(smallest))
    else:
        p = float((smallest <= observed).sum() / len(smallest))
    parts = {name: float(ranks[0, at] / len(ranks)) for at, name in enumerate(blocks)}
    level = float(np.quantile(statistics[1:, 0], 0.95)) if len(statistics) > 1 else np.inf
    axes = pooled[:, next(iter(blocks.values()))]
    detectable = _detectable(axes, len(current), level, random)
    return ShiftTest(p, parts, detectable, len(current), len(reference))


def _differences(
    pooled: NDArray[np.float32], current: int, random: np.random.Generator, permutations: int
) -> "list[NDArray[np.float32]]":
    """Return the differences of means, [arrangements, numbers], the observed arrangement first."""
    total, count = pooled.sum(axis=0), len(pooled)
    scale = np.float32(1 / current + 1 / (count - current))
    per_block = max(1, BLOCK_BYTES // (4 * count))
    found, left, first = [], permutations + 1, True
    while left:
        rows = min(left, per_block)
        chosen = np.zeros((rows, count), np.float32)
        order = np.argpartition(random.random((rows, count), np.float32), current - 1, axis=1)
        np.put_along_axis(chosen, order[:, :current], 1, axis=1)
        if first:
            chosen[0] = 0
            chosen[0, count - current :] = 1
            first = False
        found.append((chosen @ pooled) * scale - total / np.float32(count - current))
        left -= rows
    return [row for block in found for row in block]


def _statistics(difference: NDArray[np.float32], blocks: Mapping[str, slice]) -> list[float]:
    """Return the statistic of each test: the largest step for scores, else a length."""
    return [
        float(np.abs(difference[at]).max() if name == "scores" else (difference[at] ** 2).sum())
        for name, at in blocks.items()
    ]


def _at_least(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return, for each value, the number of values that are as large or larger."""
    ordered = np.sort(values)
    return len(values) - np.searchsorted(ordered, values, "left")


def _detectable(
    axes: NDArray[np.float32], current: int, level: float, random: np.random.Generator
) -> float:
    """Return the length of the shift of the mean that is found with the probability ``POWER``."""
    count, width = axes.shape
    noise = random.normal(size=(POWER_DRAWS, width)) * np.sqrt(
        axes.var(axis=0) * (1 / current + 1 / (count - current))
    )
    direction = random.normal(size=(POWER_DRAWS, width))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    low, high = 0.0, 1.0
    while high < 1e6 and _power(noise, direction * high, level) < POWER:
        high *= 2
    for _ in range(20):
        middle = (low + high) / 2
        found = _power(noise, direction * middle, level) >= POWER
        low, high = (low, middle) if found else (middle, high)
    return high


def _power(noise: NDArray[np.float64], shift: NDArray[np.float64], level: float) -> float:
    return float((((noise + shift) ** 2).sum(axis=1) > level).mean())
