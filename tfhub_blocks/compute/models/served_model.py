"""Models as they are served, in two halves, so that an engine can make the second one fast."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.encoders.encoder import read_input
from tfhub_blocks.compute.inference.computations import Computation
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tf.operations import import_packages
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.models import SAVED_MODEL_NAME, open_model
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin, read_pin


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model of ours, loaded: contents to what the encoder takes, and that to probabilities.

    ``digest`` is that of all its files.
    """

    pin: Pin
    labels: tuple[str, ...]
    input: Modality
    loaded: Any
    digest: str

    def computation(self, batch_size: int, where: str) -> Computation:
        """Probabilities, float32 [batch_size, classes], as a computation, as of an encoder."""
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
    """A model from ``train_head`` or ``fine_tune``, every byte checked before it is loaded.

    Raises:
        BlocksError: It is no finished model, a file differs, an operation's package is not
            installed, or it was made before models had halves.
    """
    folder, metadata = open_model(path, where)
    pin = read_pin(path / PIN_NAME)
    import_packages(pin.operations.packages, where)
    loaded = tf.saved_model.load(str(path / SAVED_MODEL_NAME))
    if not hasattr(loaded, "classify"):
        raise BlocksError(
            where,
            str(path),
            "it was made by an earlier version, which saved the model as a whole only",
            "a model with `preprocess` and `classify`",
            "train it again, with this version",
        )
    encoder_input = read_input(pin.modality, pin.input, str(path / PIN_NAME))
    return ServedModel(pin, tuple(metadata["labels"]), encoder_input, loaded, folder.digest)
