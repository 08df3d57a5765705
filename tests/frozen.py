"""What extraction computes, for tests of encoders."""

from collections.abc import Sequence

import numpy as np

from tfhub_blocks.compute.encoders.encoder import Encoder
from tfhub_blocks.compute.inference.engine_selection import select_engine, take_sample


def frozen_vectors(encoder: Encoder, contents: Sequence[bytes]) -> np.ndarray:
    """Features, float32 [n, dimension], by the frozen graph, which may differ by rounding."""
    computation = encoder.computation(len(contents), "test")
    sample = take_sample(computation, [("an item", content) for content in contents])
    return select_engine("tensorflow", "float32", 1e-4, sample).vectors
