"""Models that OpenVINO and NumPy answer alone, in a process without TensorFlow."""

# decision 121

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from tfhub_blocks.compute.answering.answerers import BatchAnswerer, batch_sizes
from tfhub_blocks.compute.inference.engine_interface import Precision, UnfitError
from tfhub_blocks.compute.inference.openvino_engine import OpenVinoEngine
from tfhub_blocks.compute.modalities.encoder_inputs import read_input
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.models.carried_program import carried_decode
from tfhub_blocks.records.formats.models import (
    PREPARED,
    PROBABILITIES,
    SAVED_MODEL_NAME,
    open_model,
)
from tfhub_blocks.records.formats.runtimes import Runtime
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin


def open_compiled(path: Path, runtime: Runtime, where: str) -> BatchAnswerer:
    """Open a model of tfhub-blocks without TensorFlow; every byte is checked before loading.

    The model's SavedModel is converted by OpenVINO, from the signature for prepared items.

    Args:
        path: The folder of the model.
        runtime: The runtime, with the engine OpenVINO.
        where: The command or step, for messages.

    Raises:
        UnfitError: The model decodes in its graph, has operations of another package, or OpenVINO
            cannot convert it or compute the precision on this CPU.
        BlocksError: The folder is no finished model, or a file differs.
    """
    _, metadata = open_model(path, where)
    pin = read_pin(path / PIN_NAME)
    encoder_input = read_input(pin.modality, pin.input, str(path / PIN_NAME))
    decode = carried_decode(path, encoder_input)
    if pin.operations.packages or not _decodes(decode, encoder_input):
        raise UnfitError("the model's items are strings, or need operations of another package")
    threads = runtime.threads * runtime.concurrency
    sizes = batch_sizes(runtime.largest_batch)
    forwards = OpenVinoEngine(threads, runtime.concurrency).compiled_signature(
        path / SAVED_MODEL_NAME,
        PREPARED,
        PROBABILITIES,
        sizes,
        cast(Precision, runtime.precision),
    )
    return BatchAnswerer(
        metadata["labels"],
        encoder_input,
        lambda contents: np.stack([decode(content) for content in contents]),
        dict(zip(sizes, forwards, strict=True)),
        runtime,
    )


def _decodes(decode: Callable[[bytes], Any], encoder_input: Modality) -> bool:
    """Return True if a model's program decodes items to arrays, so that no graph has to."""
    samples = encoder_input.samples()
    return bool(samples) and isinstance(decode(samples[0]), np.ndarray)
