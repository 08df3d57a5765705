"""Parity: the distance of an engine's vectors from the vectors of the model as served."""

# decision 14

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The difference between kernels of the same precision, and the accepted loss by fewer bits.
FULL_PRECISION_LIMIT = 1e-4
REDUCED_PRECISION_LIMIT = 0.3


@dataclass(frozen=True)
class Parity:
    """The differences over a sample of items: ``|given - reference| / |reference|`` for each.

    Norms are Euclidean, over an item's vector.
    """

    items: int
    largest: float
    median: float
    worst_item: str


def measure_parity(
    ids: Sequence[str], given: NDArray[np.float32], reference: NDArray[np.float32]
) -> Parity:
    """Return the differences of vectors, both [items, dimension], of at least one item.

    If all numbers of a reference vector are zero, only a zero vector is equal to it.
    """
    exact = reference.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1)
    lengths[lengths == 0] = np.finfo(np.float64).tiny
    differences = np.linalg.norm(given - exact, axis=1) / lengths
    # A NaN counts as the largest difference.
    differences = np.where(np.isnan(differences), np.inf, differences)
    worst = int(differences.argmax())
    return Parity(len(ids), float(differences[worst]), float(np.median(differences)), ids[worst])


def usual_limit(precision: str) -> float:
    """Return the default limit of differences for a precision."""
    return FULL_PRECISION_LIMIT if precision == "float32" else REDUCED_PRECISION_LIMIT
