"""The map of an item's vector and class scores to numbers whose means are compared.

Each test of drift compares the means of two groups in one block of these numbers: whitened
principal axes (a shift of the mean), random Fourier features of them (any shift, by a kernel), and
steps of class scores (a change of the head's answers). The map is fitted to the training items
alone, so it is a fixed function for the items that are compared.
"""

# decision 90

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.records.base.errors import BlocksError

WHERE = "monitor_drift"
AXES, FREQUENCIES = 64, 256
# The steps of a class score, and the most steps of all classes together.
STEPS, ALL_STEPS = 15, 512
# Each axis is estimated from at least so many items, and no axis has less than this variance.
ITEMS_PER_AXIS, LEAST_VARIANCE = 4, 1e-6
BANDWIDTH_ITEMS = 500
# The number of vectors that are converted at once.
ROWS = 4096


@dataclass(frozen=True, eq=False)
class DriftMap:
    """The fitted map: whitening, frequencies of a Gaussian kernel, and steps of class scores."""

    mean: NDArray[np.float32]  # [dim]
    axes: NDArray[np.float32]  # [dim, axes], scaled to variance 1
    frequencies: NDArray[np.float32]  # [axes, frequencies]
    phases: NDArray[np.float32]  # [frequencies]
    classes: NDArray[np.int64]  # the classes whose scores are compared
    steps: NDArray[np.float32]  # [compared classes, steps]

    def whitened(self, vectors: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the vectors, [n, dim], on the whitened axes, [n, axes]."""
        shift = self.mean @ self.axes
        blocks = [
            vectors[start : start + ROWS].astype(np.float32) @ self.axes - shift
            for start in range(0, len(vectors), ROWS)
        ]
        return np.concatenate(blocks or [np.empty((0, self.axes.shape[1]), np.float32)])

    def numbers(
        self, whitened: NDArray[np.float32], scores: NDArray[np.floating]
    ) -> NDArray[np.float32]:
        """Return all blocks side by side, [n, numbers]; see ``blocks``.

        Args:
            whitened: The items on the whitened axes, [n, axes].
            scores: The probabilities of the classes, [n, classes].
        """
        waves = np.cos(whitened @ self.frequencies + self.phases)
        below = scores.astype(np.float32)[:, self.classes, None] <= self.steps
        return np.concatenate(
            [
                whitened,
                waves * np.float32(np.sqrt(2 / self.frequencies.shape[1])),
                below.reshape(len(below), -1).astype(np.float32),
            ],
            axis=1,
        )

    @cached_property
    def blocks(self) -> Mapping[str, slice]:
        """The columns of each block: ``mean``, ``kernel`` and ``scores``."""
        axes, waves, steps = self.axes.shape[1], self.frequencies.shape[1], self.steps.size
        return {
            "mean": slice(0, axes),
            "kernel": slice(axes, axes + waves),
            "scores": slice(axes + waves, axes + waves + steps),
        }


def fit_drift_map(
    vectors: NDArray[np.floating], scores: NDArray[np.floating], seed: int = 0
) -> DriftMap:
    """Fit the map to the training items of a model.

    Args:
        vectors: The features of the training items, [n, dim], finite.
        scores: The probabilities of the classes for them, [n, classes].
        seed: The seed of the random frequencies.

    Raises:
        BlocksError: All features are constant.
    """
    count = len(vectors)
    mean = vectors.mean(axis=0, dtype=np.float64)
    covariance = _covariance(vectors, mean)
    variances, directions = np.linalg.eigh(covariance)
    kept = min(AXES, max(count // ITEMS_PER_AXIS, 1), len(variances))
    order = np.argsort(variances)[::-1][:kept]
    order = order[variances[order] > LEAST_VARIANCE * max(variances[-1], 0)]
    if variances[-1] <= 0 or not len(order):
        raise BlocksError(
            WHERE,
            "features",
            f"the features of all {count} training items are equal",
            "features that differ between items",
            "Check that the encoder fits the modality of the items",
        )
    axes = directions[:, order] / np.sqrt(variances[order])
    random = np.random.default_rng(seed)
    chosen = np.linspace(0, count - 1, min(count, BANDWIDTH_ITEMS)).astype(np.int64)
    width = _median_distance((vectors[chosen] - mean) @ axes)
    # Of very many classes, those with the largest scores are compared.
    compared = np.sort(np.argsort(-scores.mean(axis=0), kind="stable")[:ALL_STEPS])
    steps = min(STEPS, ALL_STEPS // len(compared))
    shares = (np.arange(steps) + 1) / (steps + 1)
    return DriftMap(
        mean.astype(np.float32),
        axes.astype(np.float32),
        (random.normal(size=(len(order), FREQUENCIES)) / width).astype(np.float32),
        random.uniform(0, 2 * np.pi, FREQUENCIES).astype(np.float32),
        compared,
        np.quantile(scores[:, compared], shares, axis=0).T.astype(np.float32),
    )


def _covariance(vectors: NDArray[np.floating], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance, with a few rows at once in float64."""
    total = np.zeros((len(mean), len(mean)))
    for start in range(0, len(vectors), ROWS):
        centred = vectors[start : start + ROWS] - mean
        total += centred.T @ centred
    return total / len(vectors)


def _median_distance(points: NDArray[np.floating]) -> float:
    """Return the median distance of two points, the usual width of a Gaussian kernel."""
    squares = (points**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * points @ points.T
    upper = distances[np.triu_indices(len(points), 1)]
    return float(np.sqrt(max(np.median(upper), 1e-12))) if len(upper) else 1.0
