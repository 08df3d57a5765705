"""Models for serving, in two halves, so that an engine can accelerate the second half."""

# decision 75

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_blocks.compute.inference.computations import Computation
from tfhub_blocks.compute.modalities.encoder_inputs import read_input
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.models.carried_program import carried_decode
from tfhub_blocks.compute.models.feature_cut import with_features
from tfhub_blocks.compute.tf.operations import import_packages
from tfhub_blocks.compute.tf.saved_model_loading import load_checked
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.models import SAVED_MODEL_NAME, open_model
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin, read_pin


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A loaded model of tfhub-blocks.

    Its first half, ``decode`` and what follows it, converts contents to the encoder's input, and
    its second half converts that input to probabilities. ``decode`` is the program that the model
    carries. ``digest`` is the digest of all files of the model.
    """

    pin: Pin
    labels: tuple[str, ...]
    input: Modality
    decode: Callable[[bytes], Any]
    loaded: Any
    digest: str

    def prepare(self, contents: Sequence[bytes]) -> Any:
        """Return the argument of the second half for the contents of items.

        Raises:
            ValueError: A content cannot be decoded; the message is the reason.
            InvalidArgumentError: The model is of an earlier version, and decodes in TensorFlow.
        """
        decoded = [self.decode(content) for content in contents]
        if isinstance(decoded[0], np.ndarray):
            return np.stack(decoded)
        strings = tf.constant(decoded, tf.string)
        # Models of earlier versions have a first half in their graph.
        first_half = getattr(self.loaded, "preprocess", None)
        return first_half(strings) if first_half else strings

    def answered(self, prepared: Any) -> Any:
        """Return probabilities, [n, classes], for the result of ``prepare``, by the saved graph."""
        return self.loaded.classify(tf.convert_to_tensor(prepared))

    def computation(self, batch_size: int, where: str, keep_features: bool = False) -> Computation:
        """Return the computation of probabilities, float32 [batch_size, classes].

        With ``keep_features``, the encoder's features precede the probabilities in each row.

        Raises:
            BlocksError: The features cannot be kept; see ``with_features``.
        """
        spec = self.input.spec(batch_size)
        forward = traced(self.loaded.classify).get_concrete_function(spec)
        dimension = len(self.labels)
        if keep_features:
            forward = with_features(forward, spec, where)
            dimension = int(forward.outputs[0].shape[-1])
        return Computation(
            where=where,
            input=self.input,
            prepare=self.prepare,
            forward=forward,
            batch_size=batch_size,
            dimension=dimension,
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
            "a model with the function `classify`",
            "Train the model again with this version",
        )
    encoder_input = read_input(pin.modality, pin.input, str(path / PIN_NAME))
    decode = carried_decode(path, encoder_input)
    return ServedModel(pin, tuple(metadata["labels"]), encoder_input, decode, loaded, folder.digest)
