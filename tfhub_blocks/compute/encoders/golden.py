"""Golden outputs: an encoder's vectors for fixed items, compared with those in its pin."""

# decision 9

import numpy as np

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import Golden

PARTS = 8
# Other kernels and cores cause a difference of about 1e-5, a GPU's TF32 of 1e-3, and a wrong range
# of far more.
TOLERANCE = 0.01


def golden_outputs(vectors: np.ndarray) -> Golden:
    """Return the golden outputs for the vectors of an encoder, float [items, dimension]."""
    from tfhub_blocks.compute.tf.tensorflow_setup import tf

    parts = np.array_split(vectors, min(PARTS, vectors.shape[1]), axis=1)
    means = np.stack([part.mean(axis=1, dtype=np.float64) for part in parts], axis=1)
    values = tuple(tuple(float(f"{mean:.6g}") for mean in row) for row in means)
    return Golden(values, TOLERANCE, tf.__version__)


def check_golden(pinned: Golden, seen: Golden, where: str) -> None:
    """Compare an encoder's golden outputs with those in its pin.

    Raises:
        BlocksError: The outputs differ by more than the pin's tolerance.
    """
    expected, given = np.array(pinned.values), np.array(seen.values)
    if expected.shape != given.shape:
        problem = f"the golden outputs have shape {given.shape}"
        asked = f"shape {expected.shape}, as in the pin"
    else:
        largest = max(float(np.abs(expected).max()), 1e-30)
        difference = float(np.abs(given - expected).max()) / largest
        if difference <= pinned.tolerance:  # false for a NaN
            return
        problem = f"TensorFlow {seen.tensorflow} gives values that differ by {difference:.2g}"
        asked = f"at most {pinned.tolerance:g} from those of TensorFlow {pinned.tensorflow}"
    raise BlocksError(
        where,
        "golden outputs",
        problem,
        asked,
        "Undo the edits of the pin, run in the environment in which the encoder was pinned, or pin "
        "the encoder again and train again",
    )
