"""Multinomial logistic regression on standardised features, solved to the optimum by L-BFGS.

Three exact changes of variables make a sweep over many regularisation strengths cheap. None of
these changes the result, because the L2 penalty is invariant under rotation:

1. Features are standardised and rotated onto their principal axes, once. With fewer items than
   features, only as many axes as items remain.
2. Along principal axis ``j`` with variance ``v_j`` the objective's curvature is about
   ``items * v_j * c + strength``, with ``c`` the mean of ``p * (1 - p)`` over items and classes.
   Each coordinate is divided by the root of this curvature. So L-BFGS starts from a problem that is
   well conditioned, and does not depend on the condition number of the features.
3. ``c`` is measured again every few dozen iterations (a *round*); the problem is solved when a
   complete round gains almost nothing.

Sums over items, the softmax and the optimiser's state are float64. The features of a `Design` are
either in memory, rotated, as one float32 copy, or read again in each evaluation (*streamed*) and
standardised chunk by chunk. When streamed, the rotation is applied to the weights and the gradient
instead, which is the same product in another order. Axes and variances are only a preconditioner,
so a streamed design takes them from a sample. Mean and scale, which affect the penalty, are of all
items.

Chunks are computed in parallel, one on each core, and summed in order. BLAS should use one thread
meanwhile (`one_blas_thread`): its own threads wait for each other by spinning, for longer than
they compute.
"""

# decision 19

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize
from scipy.linalg.blas import sgemm
from threadpoolctl import ThreadpoolController

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Integers = NDArray[np.integer]
Chunks = Callable[[], Iterator[Float32]]
_Sums = tuple[float, float, Float32, Float64]
_Answer = TypeVar("_Answer")

# Searched once, because the search takes longer than a small fit.
_LIBRARIES = ThreadpoolController()

CHUNK_ITEMS = 2048
ROUND_ITERATIONS = 50
ROUND_TOLERANCE = 1e-4
"""Stop when a round lowers the objective by less than this fraction."""


@dataclass(frozen=True, eq=False)
class Moments:
    """The mean and the scale for the standardisation of features."""

    mean: Float64  # [dim]
    scale: Float64  # [dim]; infinite where a feature is constant, so it becomes 0

    def standardised(self, chunk: Float32) -> Float64:
        """Return ``[items, dim]`` with mean 0 and deviation 1 over all items."""
        whole: Float64 = (chunk - self.mean) / self.scale
        return whole


@dataclass(frozen=True, eq=False)
class Design:
    """Training features, standardised, and their principal axes.

    ``axes.T @ axes`` is the identity. Unless streamed, chunks are rotated already:
    ``(features - mean) / scale @ axes``.
    """

    moments: Moments
    axes: Float64  # [dim, rank]; rank = min(items, dim) of all items, or of the sample
    variances: Float64  # [rank], along each axis
    chunks: Chunks  # float32 [items, rank], or unchanged features if streamed; in order
    streamed: bool = False

    def standardised(self, chunk: Float32) -> Float32:
        """Return an unchanged chunk of features, standardised in float32: ``[items, dim]``."""
        whole = chunk - self.moments.mean.astype(np.float32)
        whole *= (1 / self.moments.scale).astype(np.float32)
        return whole


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of the optimiser for one strength."""

    parameters: Float64  # [rank + 1, classes], along the axes of the design; the bias is last
    log_loss: float  # weighted mean over the training items, without the penalty
    iterations: int
    converged: bool


def one_blas_thread() -> AbstractContextManager[object]:
    """Limit the libraries of NumPy and SciPy to one thread for each product."""
    limited: AbstractContextManager[object] = _LIBRARIES.limit(limits=1, user_api="blas")
    return limited


def moments(chunks: Chunks, items: int) -> Moments:
    """Return the moments of finite features. The features are read twice.

    A feature counts as constant, and gets weight zero, if its standard deviation is below the
    rounding of float32 at its mean (or below 1e-20).
    """
    mean: Float64 = sum(chunk.sum(axis=0, dtype=np.float64) / items for chunk in chunks())
    variance = sum(np.square(chunk - mean).sum(axis=0) / items for chunk in chunks())
    deviation = np.sqrt(variance)
    constant = deviation <= np.maximum(np.finfo(np.float32).eps * np.abs(mean), 1e-20)
    return Moments(mean, np.where(constant, np.inf, deviation))


def held_design(features: Float32, of: Moments) -> Design:
    """Return a design from finite features ``[items, dim]``, which makes one copy of them."""
    items, dim = features.shape

    def product(chunk: Float32, _: int) -> Float64:
        standardised = of.standardised(chunk)
        square: Float64 = standardised.T @ standardised
        return square

    if items < dim:
        axes = linalg.svd(of.standardised(features), full_matrices=False)[2].T
    else:
        axes = linalg.eigh(sum(_side_by_side(product, sliced(features))))[1]
    rotated = np.empty((items, axes.shape[1]), np.float32)

    def rotate(chunk: Float32, start: int) -> None:
        rotated[start : start + len(chunk)] = of.standardised(chunk) @ axes

    deque(_side_by_side(rotate, sliced(features)), maxlen=0)
    variances = np.einsum("ij,ij->j", rotated, rotated, dtype=np.float64) / items
    return Design(of, axes, variances, lambda: sliced(rotated))


def streamed_design(chunks: Chunks, of: Moments, sample: Design) -> Design:
    """Return a design whose features are read in each evaluation, with the axes of a sample.

    Args:
        chunks: Finite features; reading the next chunk must not change a chunk.
        of: The moments of the features.
        sample: The design of a sample in memory, with the same moments, so that its parameters
            have the same meaning. The sample has all items, or at least as many items as features.
    """
    # Rounded like the chunks, so that the head gets exactly the moments used in the computation.
    inverse = (1 / of.scale).astype(np.float32).astype(np.float64)
    scale = np.divide(1, inverse, out=np.full_like(inverse, np.inf), where=inverse > 0)
    rounded = Moments(of.mean.astype(np.float32).astype(np.float64), scale)
    return Design(rounded, sample.axes, sample.variances, chunks, streamed=True)


def sliced(features: Float32) -> Iterator[Float32]:
    """Yield ``[items, dim]`` in order, ``CHUNK_ITEMS`` items at once."""
    for start in range(0, len(features), CHUNK_ITEMS):
        yield features[start : start + CHUNK_ITEMS]


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
    As in scikit-learn, two classes have one weight vector: the difference of the two columns.

    Args:
        design: The features of ``items`` rows.
        targets: ``[items]``, each in ``range(classes)``.
        item_weights: ``[items]``.
        strength: Positive.
        start: Parameters to start from, ``[rank + 1, classes]``, for example those of the next
            stronger regularisation.
        max_iterations: The limit of L-BFGS iterations, over all rounds.
    """
    # Two columns (-w/2, w/2) have half the squared norm of the equivalent single vector w.
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
    """Return weights ``[dim, classes]`` and bias ``[classes]`` for unchanged features.

    The rotation and the standardisation are folded in.
    """
    weights = (design.axes @ parameters[:-1]) / design.moments.scale[:, np.newaxis]
    bias = parameters[-1] - design.moments.mean @ weights
    return weights.astype(np.float32), bias.astype(np.float32)


def _unit_lengths(design: Design, curvature: float, penalty: float) -> Float64:
    """Return the lengths, ``[rank + 1]``, that give axes and bias about the same curvature."""
    axes = design.variances * curvature + penalty
    lengths: Float64 = 1 / np.sqrt(np.append(axes, max(curvature, penalty * 1e-6)))
    return lengths


def _objective(
    design: Design, targets: Integers, item_weights: Float64, penalty: float, parameters: Float64
) -> tuple[float, Float64, float]:
    """Return the objective, its gradient, and ``sum(w * mean over classes of p * (1 - p))``."""
    along = design.axes @ parameters[:-1] if design.streamed else parameters[:-1]
    weights = np.asfortranarray(along, dtype=np.float32)
    bias = parameters[-1][:, np.newaxis]

    def of_chunk(rows: Float32, start: int) -> _Sums:
        chunk = (design.standardised(rows) if design.streamed else rows).T
        items = slice(start, start + chunk.shape[1])
        weight, truth = item_weights[items], (targets[items], np.arange(chunk.shape[1]))
        logits = sgemm(1.0, weights, chunk, trans_a=True).astype(np.float64, order="C") + bias
        logits -= logits.max(axis=0)
        logit_of_truth = logits[truth]
        probabilities = np.exp(logits, out=logits)
        total = probabilities.sum(axis=0)
        probabilities /= total
        loss = float((weight * (np.log(total) - logit_of_truth)).sum())
        curvature = float((weight * (1 - np.square(probabilities).sum(axis=0))).sum())
        residuals = probabilities
        residuals[truth] -= 1
        residuals *= weight
        slope = sgemm(1.0, np.asfortranarray(residuals, dtype=np.float32), chunk, trans_b=True)
        return loss, curvature, slope.T, residuals.sum(axis=1)

    loss, curvature = penalty / 2 * float(np.square(parameters[:-1]).sum()), 0.0
    slope, slope_of_bias = np.zeros_like(along), np.zeros_like(parameters[-1])
    for of_loss, of_curvature, of_slope, of_bias in _side_by_side(of_chunk, design.chunks()):
        loss += of_loss
        curvature += of_curvature
        slope += of_slope
        slope_of_bias += of_bias
    gradient = np.append(penalty * parameters[:-1], slope_of_bias[np.newaxis], axis=0)
    gradient[:-1] += design.axes.T @ slope if design.streamed else slope
    return loss, gradient, curvature / parameters.shape[1]


def _side_by_side(
    function: Callable[[Float32, int], _Answer], chunks: Iterator[Float32]
) -> Iterator[_Answer]:
    """Yield the function of each chunk and of the number of items before the chunk, in order."""
    cores, start = len(os.sched_getaffinity(0)), 0
    ahead = list(islice(chunks, 2))
    if len(ahead) < 2:
        # Starting threads would take longer than the computation.
        yield from (function(chunk, 0) for chunk in ahead)
        return
    waiting: deque[Future[_Answer]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        for chunk in chain(ahead, chunks):
            waiting.append(pool.submit(function, chunk, start))
            start += len(chunk)
            if len(waiting) > cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
