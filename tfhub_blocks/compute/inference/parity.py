"""Parity: how far an engine's vectors are from those of the model as it is served."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# What kernels of the same precision differ by, and what fewer bits may cost.
FULL_PRECISION_LIMIT = 1e-4
REDUCED_PRECISION_LIMIT = 0.3


@dataclass(frozen=True)
class Parity:
    """The differences over a sample of items: of each, ``|given - reference| / |reference|``.

    The bars are Euclidean norms over an item's vector.
    """

    items: int
    largest: float
    median: float
    worst_item: str


def measure_parity(
    ids: Sequence[str], given: NDArray[np.float32], reference: NDArray[np.float32]
) -> Parity:
    """The differences of vectors, both [items, dimension], of at least one item.

    Where the reference is zero throughout, only zeros are equal to it.
    """
    exact = reference.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1)
    lengths[lengths == 0] = np.finfo(np.float64).tiny
    differences = np.linalg.norm(given - exact, axis=1) / lengths
    # A NaN is the worst that there is.
    differences = np.where(np.isnan(differences), np.inf, differences)
    worst = int(differences.argmax())
    return Parity(len(ids), float(differences[worst]), float(np.median(differences)), ids[worst])


def usual_limit(precision: str) -> float:
    """The largest difference that a precision may make unless somebody says otherwise."""
    return FULL_PRECISION_LIMIT if precision == "float32" else REDUCED_PRECISION_LIMIT
