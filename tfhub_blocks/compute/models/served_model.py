"""Models for serving, in two halves, so that an engine can accelerate the second half."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.encoders.encoder import read_input
from tfhub_blocks.compute.inference.computations import Computation
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tf.operations import import_packages
from tfhub_blocks.compute.tf.saved_model_loading import load_checked
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.models import SAVED_MODEL_NAME, open_model
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin, read_pin


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A loaded model of tfhub-blocks.

    Its first half converts contents to the encoder's input, and its second half converts that input
    to probabilities. ``digest`` is the digest of all files of the model.
    """

    pin: Pin
    labels: tuple[str, ...]
    input: Modality
    loaded: Any
    digest: str

    def computation(self, batch_size: int, where: str) -> Computation:
        """Return the computation of probabilities, float32 [batch_size, classes]."""
        strings = tf.TensorSpec([batch_size], tf.string)
        preprocess = traced(self.loaded.preprocess).get_concrete_function(strings)
        inputs = tf.nest.map_structure(tf.TensorSpec.from_tensor, preprocess.structured_outputs)
        forward = traced(self.loaded.classify).get_concrete_function(inputs)
        return Computation(
            where=where,
            input=self.input,
            preprocess=preprocess,
            forward=forward,
            batch_size=batch_size,
            dimension=len(self.labels),
            modules=(self.loaded,),
        )


def load_served(path: Path, where: str) -> ServedModel:
    """Load a model of ``train_head`` or ``fine_tune``; every byte is checked before loading.

    Raises:
        BlocksError: The folder is no finished model, a file differs, an operation's package is not
            installed, or an early version of tfhub-blocks wrote the model without halves.
    """
    folder, metadata = open_model(path, where)
    pin = read_pin(path / PIN_NAME)
    import_packages(pin.operations.packages, where)
    loaded = load_checked(path / SAVED_MODEL_NAME, where, pin.operations.allowed or ())
    if not hasattr(loaded, "classify"):
        raise BlocksError(
            where,
            str(path),
            "the model was written by an earlier version of tfhub-blocks, without separate halves",
            "a model with the functions `preprocess` and `classify`",
            "Train the model again with this version",
        )
    encoder_input = read_input(pin.modality, pin.input, str(path / PIN_NAME))
    return ServedModel(pin, tuple(metadata["labels"]), encoder_input, loaded, folder.digest)
