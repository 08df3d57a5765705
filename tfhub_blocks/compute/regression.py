"""Multinomial logistic regression on standardised features, solved to the optimum by L-BFGS.

Three exact changes of variables make a sweep over many regularisation strengths cheap, and none of
them changes the answer, because the L2 penalty does not see a rotation:

1. Features are standardised and rotated onto their principal axes, once. With fewer items than
   features, only as many axes as items remain.
2. Along principal axis ``j`` with variance ``v_j`` the objective's curvature is about
   ``items * v_j * c + strength``, with ``c`` the mean of ``p * (1 - p)`` over items and classes.
   Each coordinate is divided by the root of that, so L-BFGS starts from a problem that is nearly
   round instead of one whose condition number is that of the features.
3. ``c`` is measured anew every few dozen iterations (a *round*); the problem is solved when a whole
   round gains almost nothing.

The features are held in float32 (one copy); sums over items, the softmax and the optimiser's state
are float64.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize
from scipy.linalg.blas import sgemm

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Integers = NDArray[np.integer]

CHUNK_ITEMS = 8192
ROUND_ITERATIONS = 50
ROUND_TOLERANCE = 1e-4
"""Stop when a round lowers the objective by less than this share of it."""


@dataclass(frozen=True, eq=False)
class Design:
    """Training features, standardised and rotated onto their principal axes.

    ``axes.T @ axes`` is the identity, and ``rotated == ((features - mean) / scale) @ axes``.
    """

    mean: Float64  # [dim]
    scale: Float64  # [dim]; infinite where a feature is constant, so it becomes 0
    axes: Float64  # [dim, rank], rank = min(items, dim)
    variances: Float64  # [rank], of each column of `rotated`
    rotated: Float32  # [items, rank]


@dataclass(frozen=True, eq=False)
class Solution:
    """Where the optimiser stopped for one strength."""

    parameters: Float64  # [rank + 1, classes], along the axes of the design; the bias is last
    log_loss: float  # weighted mean over the training items, without the penalty
    iterations: int
    converged: bool


def standardised_design(features: Float32) -> Design:
    """Return the training features ``[items, dim]`` (finite) ready for `minimise`.

    A feature counts as constant, and ends up with weight zero, where its standard deviation is
    below the rounding of float32 at its mean (or below 1e-20).
    """
    items, dim = features.shape
    chunks = range(0, items, CHUNK_ITEMS)
    mean = np.zeros(dim)
    for start in chunks:
        mean += features[start : start + CHUNK_ITEMS].sum(axis=0, dtype=np.float64) / items
    variance = np.zeros(dim)
    for start in chunks:
        variance += np.square(features[start : start + CHUNK_ITEMS] - mean).sum(axis=0) / items
    deviation = np.sqrt(variance)
    constant = deviation <= np.maximum(np.finfo(np.float32).eps * np.abs(mean), 1e-20)
    scale = np.where(constant, np.inf, deviation)

    def standardised() -> Iterator[Float64]:
        for start in chunks:
            yield (features[start : start + CHUNK_ITEMS] - mean) / scale

    if items < dim:
        axes = linalg.svd(np.concatenate(list(standardised())), full_matrices=False)[2].T
    else:
        axes = linalg.eigh(sum(chunk.T @ chunk for chunk in standardised()))[1]
    rotated = np.empty((items, axes.shape[1]), np.float32)
    for start, chunk in zip(chunks, standardised(), strict=True):
        rotated[start : start + CHUNK_ITEMS] = chunk @ axes
    variances = np.einsum("ij,ij->j", rotated, rotated, dtype=np.float64) / items
    return Design(mean, scale, axes, variances, rotated)


def minimise(
    design: Design,
    targets: Integers,
    item_weights: Float64,
    strength: float,
    start: Float64,
    max_iterations: int,
) -> Solution:
    """Return the minimum of ``sum(item_weights * log-loss) + strength / 2 * ||W||^2``.

    The strength is ``1 / C`` of scikit-learn's LogisticRegression, and the bias is not penalised.
    As there, two classes have one weight vector (the difference of the two columns here).

    Args:
        design: Of ``items`` rows.
        targets: ``[items]``, each in ``range(classes)``.
        item_weights: ``[items]``.
        strength: Positive.
        start: Parameters to start from, ``[rank + 1, classes]``; those of the next stronger
            regularisation are a good choice.
        max_iterations: Of L-BFGS, in all rounds together.
    """
    # Two columns (-w/2, w/2) have half the squared norm of the one vector w that stands for them.
    penalty = strength * (2 if start.shape[1] == 2 else 1)
    parameters, iterations, converged = start, 0, False
    loss, _, curvature = _objective(design, targets, item_weights, penalty, parameters)
    while not converged and iterations < max_iterations:
        unit = _unit_lengths(design, curvature, penalty)[:, np.newaxis]

        def scaled(
            flat: Float64, unit: Float64 = unit, scale: float = 1 / loss
        ) -> tuple[float, Float64]:
            loss, gradient, _ = _objective(
                design, targets, item_weights, penalty, flat.reshape(start.shape) * unit
            )
            return loss * scale, (gradient * unit * scale).ravel()

        limit = min(ROUND_ITERATIONS, max_iterations - iterations)
        result = optimize.minimize(
            scaled,
            (parameters / unit).ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": limit, "ftol": ROUND_TOLERANCE / 100, "gtol": 1e-10},
        )
        before, parameters = loss, result.x.reshape(start.shape) * unit
        iterations += max(int(result.nit), 1)
        loss, _, curvature = _objective(design, targets, item_weights, penalty, parameters)
        converged = before - loss <= ROUND_TOLERANCE * loss
    squared_norm = float(np.square(parameters[:-1]).sum())
    log_loss = (loss - penalty / 2 * squared_norm) / float(item_weights.sum())
    return Solution(parameters, log_loss, iterations, converged)


def unfolded(design: Design, parameters: Float64) -> tuple[Float32, Float32]:
    """Return weights ``[dim, classes]`` and bias ``[classes]`` for features as they are.

    The rotation and the standardisation are folded in.
    """
    weights = (design.axes @ parameters[:-1]) / design.scale[:, np.newaxis]
    bias = parameters[-1] - design.mean @ weights
    return weights.astype(np.float32), bias.astype(np.float32)


def _unit_lengths(design: Design, curvature: float, penalty: float) -> Float64:
    """Return the step along each axis, and of the bias, ``[rank + 1]``, that bends them alike."""
    axes = design.variances * curvature + penalty
    lengths: Float64 = 1 / np.sqrt(np.append(axes, max(curvature, penalty * 1e-6)))
    return lengths


def _objective(
    design: Design, targets: Integers, item_weights: Float64, penalty: float, parameters: Float64
) -> tuple[float, Float64, float]:
    """Return the objective, its gradient, and ``sum(w * mean over classes of p * (1 - p))``.

    The products go through SciPy's BLAS although NumPy has one too: L-BFGS-B uses SciPy's, and two
    pools of waiting threads on the same cores take three times as long.
    """
    weights = np.asfortranarray(parameters[:-1], dtype=np.float32)
    bias = parameters[-1][:, np.newaxis]
    loss = penalty / 2 * float(np.square(parameters[:-1]).sum())
    gradient = np.zeros_like(parameters)
    gradient[:-1] = penalty * parameters[:-1]
    curvature = 0.0
    for start in range(0, len(targets), CHUNK_ITEMS):
        items = slice(start, start + CHUNK_ITEMS)
        chunk, weight = design.rotated[items].T, item_weights[items]
        truth = targets[items], np.arange(chunk.shape[1])
        logits = sgemm(1.0, weights, chunk, trans_a=True).astype(np.float64, order="C") + bias
        logits -= logits.max(axis=0)
        logit_of_truth = logits[truth]
        probabilities = np.exp(logits, out=logits)
        total = probabilities.sum(axis=0)
        probabilities /= total
        loss += float((weight * (np.log(total) - logit_of_truth)).sum())
        curvature += float((weight * (1 - np.square(probabilities).sum(axis=0))).sum())
        residuals = probabilities
        residuals[truth] -= 1
        residuals *= weight
        gradient[:-1] += sgemm(
            1.0, chunk, np.asfortranarray(residuals, dtype=np.float32), trans_b=True
        )
        gradient[-1] += residuals.sum(axis=1)
    return loss, gradient, curvature / parameters.shape[1]
