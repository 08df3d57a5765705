"""What the loss compares with: smoothed and mixed labels."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float32 = NDArray[np.float32]
Integers = NDArray[np.integer]


def soft_targets(targets: Integers, classes: int, smoothing: float) -> Float32:
    """Probabilities to learn, [n, classes]: a share ``smoothing`` is spread over all classes.

    Szegedy et al., Rethinking the Inception Architecture, 2016, section 7.
    """
    soft = np.full((len(targets), classes), smoothing / classes, np.float32)
    soft[np.arange(len(targets)), targets] += np.float32(1 - smoothing)
    return soft


def mixed(
    activations: Float32, soft: Float32, strength: float, seed: Sequence[int]
) -> tuple[Float32, Float32]:
    """A batch in which each item is blended with another of it, labels as activations.

    Manifold mixup of Verma et al., 2019, at the cut. The share of the first comes from
    Beta(strength, strength), one for the batch, from the seed alone.
    """
    random = np.random.default_rng(seed)
    share = np.float32(random.beta(strength, strength))
    other = random.permutation(len(soft))
    one = np.float32(1)
    blended = share * activations + (one - share) * activations[other]
    return blended, share * soft + (one - share) * soft[other]
