"""Ridge classification with exact leave-one-out: a fast estimate of the quality of features.

One-hot targets are regressed on standardised features with an L2 penalty and an unpenalised
intercept; the largest output is the prediction. With ``H`` such that ``H @ targets`` are the
fitted values, the prediction for item ``i`` by a fit to all *other* items follows from one fit:

    target_i - fitted_without_i = (target_i - fitted_i) / (1 - H_ii)

(Allen, The relationship between variable selection and data augmentation and a method for
prediction, 1974; for the penalised fit Golub, Heath and Wahba, Generalized cross-validation as a
method for choosing a good ridge parameter, 1979, section 2). One eigendecomposition, of the smaller
of the items' and the features' products, gives ``H`` for every strength.
"""

# decision 20

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from tfhub_blocks.compute.heads import interval_estimates
from tfhub_blocks.compute.heads.interval_estimates import IntervalEstimate
from tfhub_blocks.records.base.errors import BlocksError

Float64 = NDArray[np.float64]

WHERE = "leave_one_out"

STRENGTHS = tuple(float(f"{10**exponent:.3g}") for exponent in np.arange(-5, 2.5, 0.5))
"""0.00001 to 100, two values per decade, times the mean squared length of an item."""


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """The prediction for each item by the fit to all other items."""

    accuracy: IntervalEstimate  # the interval is Clopper and Pearson's
    predictions: NDArray[np.int64]  # [items]
    hits: NDArray[np.bool_]  # [items], True if the prediction is the target
    strength: float  # the penalty's weight, for standardised features


def leave_one_out(features: NDArray[np.floating], targets: NDArray[np.integer]) -> LeaveOneOut:
    """Return exact leave-one-out predictions of ridge classification, and their accuracy.

    The strength is the one in `STRENGTHS` with the lowest leave-one-out squared error, of equal
    strengths the strongest. The choice uses the same items, so the accuracy is slightly optimistic,
    equally for all compared features. The mean and the standard deviation of features are computed
    once, over all items, without the targets. The computation needs a few float64 copies of the
    features, so use it for a sample of items. The same input on the same machine gives the same
    bits.

    Args:
        features: ``[items, dim]``, finite; float16 or wider.
        targets: ``[items]``, from 0; at least two different values. The only item of a class is
            never predicted correctly.

    Raises:
        BlocksError: Shapes do not fit, a feature is not finite, or all items have one class.
    """
    _check(features, targets)
    items = len(targets)
    projected, eigenvalues = _principal_components(features)
    one_hot = np.eye(int(targets.max()) + 1)[targets]
    centred = one_hot - one_hot.mean(axis=0)
    products = projected.T @ centred
    best: tuple[float, float, Float64] | None = None
    for strength in sorted(STRENGTHS, reverse=True):
        penalty = max(strength * eigenvalues.sum() / items, np.finfo(np.float64).tiny)
        shrunk = 1 / (eigenvalues + penalty)
        leverage = 1 / items + np.square(projected) @ shrunk
        residuals = (centred - projected @ (shrunk[:, np.newaxis] * products)) / (
            1 - leverage[:, np.newaxis]
        )
        error = float(np.square(residuals).sum())
        if best is None or error < best[0]:
            best = error, penalty, one_hot - residuals
    assert best is not None  # noqa: S101 - STRENGTHS is not empty
    predictions = best[2].argmax(axis=1)
    hits = predictions == targets
    accuracy = interval_estimates.share(int(hits.sum()), items)
    return LeaveOneOut(accuracy, predictions, hits, float(best[1]))


def _principal_components(features: NDArray[np.floating]) -> tuple[Float64, Float64]:
    """Return standardised features along their principal axes, and the axes' squared lengths.

    The columns, ``[items, rank]``, are orthogonal; ``rank`` is the smaller of items and features.
    A constant feature has no effect.
    """
    standardised = features.astype(np.float64)
    standardised -= standardised.mean(axis=0)
    deviation = standardised.std(axis=0)
    rounding = np.finfo(features.dtype).eps * np.abs(features).max(axis=0).astype(np.float64)
    standardised /= np.where(deviation <= np.maximum(rounding, 1e-20), np.inf, deviation)
    items, dim = standardised.shape
    if items < dim:
        eigenvalues, vectors = linalg.eigh(standardised @ standardised.T)
        eigenvalues = np.maximum(eigenvalues, 0)
        return vectors * np.sqrt(eigenvalues), eigenvalues
    eigenvalues, vectors = linalg.eigh(standardised.T @ standardised)
    return standardised @ vectors, np.maximum(eigenvalues, 0)


def _check(features: NDArray[np.floating], targets: NDArray[np.integer]) -> None:
    problem = ""
    if features.ndim != 2 or len(features) != len(targets):
        problem = f"features have shape {features.shape} for {len(targets)} targets"
    elif len(np.unique(targets)) < 2:
        problem = f"{len(targets)} items have {len(np.unique(targets))} class"
    elif not (finite := np.isfinite(features).all(axis=1)).all():
        problem = f"row {int(finite.argmin())} has a feature that is NaN or infinite"
    if problem:
        raise BlocksError(
            WHERE,
            "features",
            problem,
            "one row of finite numbers for each item, and items of two or more classes",
            "Check the features of the encoder and the labels of the sample",
        )
