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

# The number of permutations follows from the number of items, so that time is bounded.
LEAST_PERMUTATIONS, MOST_PERMUTATIONS, ROWS_OF_ALL = 999, 9999, 10_000_000
LEVEL, POWER, POWER_DRAWS = 0.05, 0.8, 400
# The size of the table of arrangements in memory; the sort of its random numbers needs thrice that.
BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Comparison:
    """The result: a p-value for each test, and one for all together.

    ``uniform_p`` is ``p`` with its ties broken at random. Without a shift it is exactly uniform, as
    a sequence of looks requires.

    ``detectable`` is the length of the shift of the mean, in standard deviations of one whitened
    axis, that a comparison of this size finds with the probability ``POWER`` at the level
    ``LEVEL``; infinity if no length is found.
    """

    p: float
    uniform_p: float
    parts: Mapping[str, float]
    detectable: float
    items: int
    reference_items: int


def compare_groups(
    reference: NDArray[np.float32],
    current: NDArray[np.float32],
    blocks: Mapping[str, slice],
    random: np.random.Generator,
    permutations: int | None = None,
) -> Comparison:
    """Test whether two groups of items come from one distribution.

    Args:
        reference: The numbers of the reference items (``DriftMap.numbers``), [n, numbers].
        current: The numbers of the current items, [m, numbers].
        blocks: The columns of each test.
        random: Draws the permutations.
        permutations: Their number; None for 999 to 9,999, fewer for more items. The smallest
            p-value is 1 / (permutations + 1).
    """
    # In a random order, the observed arrangement is one more random arrangement, in its rounding
    # errors and its ties as well. The columns are centred, so that these errors are small.
    count = len(reference) + len(current)
    if permutations is None:
        permutations = min(max(ROWS_OF_ALL // count, LEAST_PERMUTATIONS), MOST_PERMUTATIONS)
    order = random.permutation(count)
    pooled = np.empty((count, reference.shape[1]), np.float32)
    pooled[np.argsort(order)[: len(reference)]] = reference
    pooled[np.argsort(order)[len(reference) :]] = current
    pooled -= pooled.mean(axis=0)
    observed = np.flatnonzero(order >= len(reference))

    differences = _differences(pooled, observed, random, permutations)
    statistics = _statistics(differences, blocks)
    # For each test and each arrangement, the number of arrangements that are at least as extreme.
    ranks = np.stack([_at_least(column) for column in statistics.T], axis=1)
    smallest = ranks.min(axis=1)
    # Of equal smallest ranks, that with the smaller ranks in the other tests is more extreme.
    extreme = smallest * 1e6 + np.log(ranks).sum(axis=1)
    less, equal = (extreme < extreme[0]).sum(), (extreme == extreme[0]).sum()
    p = float((less + equal) / len(smallest))
    uniform_p = float((less + random.uniform() * equal) / len(smallest))
    parts = {name: float(ranks[0, at] / len(ranks)) for at, name in enumerate(blocks)}
    axes = pooled[:, next(iter(blocks.values()))]
    limit = _limit(statistics[:, 0], smallest)
    detectable = _detectable(axes, len(current), limit, random)
    return Comparison(p, uniform_p, parts, detectable, len(current), len(reference))


def _differences(
    pooled: NDArray[np.float32],
    observed: NDArray[np.int64],
    random: np.random.Generator,
    permutations: int,
) -> NDArray[np.float32]:
    """Return the differences of means, [arrangements, numbers], the observed arrangement first."""
    count, current = len(pooled), len(observed)
    total = pooled.sum(axis=0, dtype=np.float64).astype(np.float32) / np.float32(count - current)
    scale = np.float32(1 / current + 1 / (count - current))
    per_block = max(1, BLOCK_BYTES // (4 * count))
    found = np.empty((permutations + 1, pooled.shape[1]), np.float32)
    for start in range(0, permutations + 1, per_block):
        rows = min(permutations + 1 - start, per_block)
        chosen = np.zeros((rows, count), np.float32)
        order = np.argpartition(random.random((rows, count), np.float32), current - 1, axis=1)
        np.put_along_axis(chosen, order[:, :current], 1, axis=1)
        if start == 0:
            chosen[0] = 0
            chosen[0, observed] = 1
        found[start : start + rows] = chosen @ pooled * scale - total
    return found


def _statistics(
    differences: NDArray[np.float32], blocks: Mapping[str, slice]
) -> NDArray[np.float32]:
    """Return the statistic of each test, [arrangements, tests].

    It is the largest step for class scores, else the square of a length.
    """
    columns = [
        np.abs(differences[:, at]).max(axis=1)
        if name == "scores"
        else (differences[:, at] ** 2).sum(axis=1)
        for name, at in blocks.items()
    ]
    return np.stack(columns, axis=1)


def _at_least(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return, for each value, the number of values that are as large or larger."""
    ordered = np.sort(values)
    return len(values) - np.searchsorted(ordered, values, "left")


def _limit(statistics: NDArray[np.float32], smallest: NDArray[np.int64]) -> float:
    """Return the value of one statistic at which the combined p-value reaches ``LEVEL``."""
    ordered = np.sort(smallest)
    allowed = int(LEVEL * len(ordered))
    rank = int(ordered[allowed - 1]) if allowed else 0
    # All arrangements of this rank must be below the level together; of a tie, none counts.
    if allowed and allowed < len(ordered) and ordered[allowed] == rank:
        rank -= 1
    return float(np.sort(statistics)[-rank]) if rank > 0 else np.inf


def _detectable(
    axes: NDArray[np.float32], current: int, limit: float, random: np.random.Generator
) -> float:
    """Return the length of the shift of the mean that is found with the probability ``POWER``."""
    count, width = axes.shape
    noise = random.normal(size=(POWER_DRAWS, width)) * np.sqrt(
        axes.var(axis=0) * (1 / current + 1 / (count - current))
    )
    direction = random.normal(size=(POWER_DRAWS, width))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    low, high = 0.0, 1.0
    while _power(noise, direction * high, limit) < POWER:
        high *= 2
        if high > 1e6:
            return np.inf
    for _ in range(20):
        middle = (low + high) / 2
        found = _power(noise, direction * middle, limit) >= POWER
        low, high = (low, middle) if found else (middle, high)
    return high


def _power(noise: NDArray[np.float64], shift: NDArray[np.float64], limit: float) -> float:
    return float((((noise + shift) ** 2).sum(axis=1) >= limit).mean())
