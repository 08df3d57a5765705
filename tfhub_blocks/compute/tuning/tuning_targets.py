"""The targets of the loss: smoothed and mixed labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Integers = NDArray[np.integer]


def soft_targets(targets: Integers, classes: int, smoothing: float) -> Float32:
    """Return target probabilities, [n, classes], with ``smoothing`` spread over all classes.

    Szegedy et al., Rethinking the Inception Architecture, 2016, section 7.
    """
    soft = np.full((len(targets), classes), smoothing / classes, np.float32)
    soft[np.arange(len(targets)), targets] += np.float32(1 - smoothing)
    return soft


def mixed(
    activations: Float32, soft: Float32, strength: float, seed: Sequence[int]
) -> tuple[Float32, Float32]:
    """Return a batch in which each item is blended with another item of the batch.

    Labels are blended like activations. This is manifold mixup of Verma et al., 2019, at the cut.
    The share of the first item is sampled once for the batch from Beta(strength, strength), and
    depends on the seed alone.
    """
    random = np.random.default_rng(seed)
    share = np.float32(random.beta(strength, strength))
    other = random.permutation(len(soft))
    one = np.float32(1)
    blended = share * activations + (one - share) * activations[other]
    return blended, share * soft + (one - share) * soft[other]
