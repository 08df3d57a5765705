"""What moved: class shares, slices, new items, and training items that no longer occur."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.heads.interval_estimates import share

ROWS = 1024


@dataclass(frozen=True)
class ClassShare:
    """The share of answers of a class, with a 95 % interval, and its share in the reference."""

    label: str
    share: float
    low: float
    high: float
    reference_share: float


@dataclass(frozen=True, eq=False)
class Neighbours:
    """For each item, the row of the nearest item of another group, and the distance to it."""

    rows: NDArray[np.int64]
    distances: NDArray[np.float32]


def class_shares(
    current: NDArray[np.floating], reference: NDArray[np.floating], labels: Sequence[str]
) -> list[ClassShare]:
    """Return the shares of the answers, with Clopper-Pearson intervals.

    Args:
        current: The probabilities of the current items, [m, classes].
        reference: The probabilities of the reference items, [n, classes].
        labels: The names of the classes.
    """
    counts = np.bincount(current.argmax(axis=1), minlength=len(labels))
    before = np.bincount(reference.argmax(axis=1), minlength=len(labels)) / len(reference)
    found = (share(int(count), len(current)) for count in counts)
    return [
        ClassShare(label, each.value, each.low, each.high, float(reference_share))
        for label, each, reference_share in zip(labels, found, before, strict=True)
    ]


def nearest(
    items: NDArray[np.float32], others: NDArray[np.float32], same: bool = False
) -> Neighbours:
    """Return the nearest of the others for each item, on the whitened axes.

    Args:
        items: [m, axes].
        others: [n, axes].
        same: True if both are the same items: an item is then not its own neighbour.
    """
    squares = (others**2).sum(axis=1)
    rows = np.empty(len(items), np.int64)
    distances = np.empty(len(items), np.float32)
    for start in range(0, len(items), ROWS):
        some = items[start : start + ROWS]
        table = squares - 2 * some @ others.T
        if same:
            table[np.arange(len(some)), start + np.arange(len(some))] = np.inf
        at = table.argmin(axis=1)
        rows[start : start + ROWS] = at
        found = table[np.arange(len(some)), at] + (some**2).sum(axis=1)
        distances[start : start + ROWS] = np.sqrt(np.maximum(found, 0))
    return Neighbours(rows, distances)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for their number (Holm, 1979)."""
    adjusted, largest = {}, 0.0
    for done, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - done)))
        adjusted[name] = largest
    return adjusted
