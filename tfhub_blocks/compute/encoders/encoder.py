"""Encoders: pretrained SavedModels, verified, loaded and called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_blocks.compute.encoders.encoder_loading import pinned_saved_model
from tfhub_blocks.compute.encoders.golden import check_golden, golden_outputs
from tfhub_blocks.compute.inference.computations import Computation
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tf.operations import import_packages
from tfhub_blocks.compute.tf.saved_model_loading import SavedObject, load_object
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.records.base.documents import read_record
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import open_folder
from tfhub_blocks.records.pins.pins import (
    FORMAT,
    PIN_NAME,
    EncoderOutput,
    Pin,
    read_pin,
)


@dataclass(frozen=True)
class Encoder:
    """An encoder, loaded for inference."""

    pin: Pin
    input: Modality
    loaded: SavedObject

    @property
    def name(self) -> str:
        """What people call it."""
        return self.pin.name

    @property
    def dimension(self) -> int:
        """How many features an item has."""
        return self.pin.output.dimension

    @property
    def digest(self) -> str:
        """The digest of the SavedModel's files."""
        return self.pin.digest

    def describe(self) -> dict[str, Any]:
        """What decides its features besides contents, digest and engine; JSON-ready."""
        return self.input.describe()

    def preprocess(self, decoded: tf.Tensor) -> Any:
        """What ``features`` takes, for contents as ``input.decode`` gives them, string [n]."""
        return self.input.preprocess(decoded)

    def features(self, preprocessed: Any) -> tf.Tensor:
        """Features, float32 [n, dimension], with ``training=False``.

        It may be traced into a function that is saved; what keeps ``loaded.modules`` saves the
        variables.
        """
        vectors = vectors_of(self.loaded, self.input, self.pin.output, preprocessed)
        return tf.ensure_shape(vectors, [None, self.dimension])

    def encode(self, contents: Sequence[bytes]) -> np.ndarray:
        """Features, float32 [n, dimension], of items' contents, with the variables as they are."""
        decoded = [self.input.decode(content) for content in contents]
        vectors: np.ndarray = self.features(self.preprocess(tf.constant(decoded))).numpy()
        return vectors

    def computation(self, batch_size: int, where: str) -> Computation:
        """Features as a computation of batches of one size, for a step."""
        strings = tf.TensorSpec([batch_size], tf.string)
        preprocess = traced(self.preprocess).get_concrete_function(strings)
        # Apart from preprocessing, or optimizers fold its last product into the encoder.
        inputs = tf.TensorSpec.from_tensor(preprocess.outputs[0])
        forward = traced(self.features).get_concrete_function(inputs)
        return Computation(
            where=where,
            input=self.input,
            preprocess=preprocess,
            forward=forward,
            batch_size=batch_size,
            dimension=self.dimension,
            modules=self.loaded.modules,
        )


def load_encoder(folder: Path, where: str = "load_encoder") -> Encoder:
    """An encoder as ``import_encoder`` made it, every byte verified before it is loaded.

    It has given its pin's golden outputs again, so this runtime computes what it was pinned for.

    Raises:
        BlocksError: It is no finished encoder, its bytes are not where its pin decides that they
            are, a file differs, TensorFlow cannot load it, or its golden outputs differ.
    """
    open_folder(folder, FORMAT, where).file(PIN_NAME)
    return load_pinned(folder, where)


def load_pinned(folder: Path, where: str) -> Encoder:
    """An encoder as ``encoder pin`` made it: as ``load_encoder``, but it need not be an output.

    Raises:
        BlocksError: As ``load_encoder``, for what is pinned.
    """
    pin = read_pin(folder / PIN_NAME)
    saved_model = pinned_saved_model(pin, folder, where)
    import_packages(pin.operations.packages, where)
    encoder_input = read_input(pin.modality, pin.input, str(folder / PIN_NAME))
    encoder = Encoder(pin, encoder_input, load_object(saved_model, where))
    check_golden(pin.golden, golden_outputs(encoder.encode(encoder_input.samples())), where)
    return encoder


def read_input(name: str, record: Mapping[str, Any], where: str) -> Modality:
    """An encoder's input, from a pin's ``modality`` and its table ``input``.

    Raises:
        BlocksError: No encoder takes this modality, or a key is missing, unknown or mistyped.
    """
    kinds = {each: kind for each, kind in MODALITIES.items() if kind is not Modality}
    if name not in kinds:
        remedy = "correct it, or update tfhub-blocks"
        expected = f"one of {', '.join(kinds)}"
        raise BlocksError(where, "modality", f"it is {name!r}", expected, remedy)
    read = read_record(record, kinds[name], where, "input")
    for key, problem, expected in read.faults():
        raise BlocksError(where, f"input.{key}", problem, expected, "correct it")
    return read


def vectors_of(
    loaded: SavedObject, encoder_input: Modality, output: EncoderOutput, preprocessed: Any
) -> tf.Tensor:
    """What an encoder gives for preprocessed items, float32, by an output's key and pooling."""

    def call(inputs: Any) -> tf.Tensor:
        return tf.cast(output_of(loaded.call(inputs), output.key), tf.float32)

    return encoder_input.encode(call, preprocessed, output.pooling)


def output_of(given: Any, key: str | None) -> Any:
    """The one of an encoder's outputs that a pin names."""
    if key is None:
        return given
    return given[key] if isinstance(given, Mapping) else given[int(key)]
