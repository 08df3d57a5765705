"""Encoders: pretrained SavedModels, which are verified, loaded and called here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_blocks.compute.encoders.encoder_loading import pinned_saved_model
from tfhub_blocks.compute.encoders.golden import check_golden, golden_outputs
from tfhub_blocks.compute.inference.computations import Computation
from tfhub_blocks.compute.modalities.encoder_inputs import read_input
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tf.operations import import_packages
from tfhub_blocks.compute.tf.saved_model_loading import SavedObject, load_object
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
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
    """An encoder, loaded for inference.

    Example::

        encoder = load_encoder(run.path("encoder"), "embed_texts")
        features = encoder.encode([b"a text", b"another text"])  # float32 [2, dimension]
    """

    pin: Pin
    input: Modality
    loaded: SavedObject

    @property
    def name(self) -> str:
        """The name in the pin."""
        return self.pin.name

    @property
    def dimension(self) -> int:
        """The number of features of an item."""
        return self.pin.output.dimension

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the features: their numbers."""
        return tuple(str(number) for number in range(self.dimension))

    @property
    def digest(self) -> str:
        """The digest of the SavedModel's files."""
        return self.pin.digest

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the features besides contents, digest and engine.

        The result is ready for JSON.
        """
        return self.input.describe()

    def alternatives(self) -> dict[str, "Encoder"]:
        """Return the encoder under other assumptions about its input, by their facts."""
        return {name: replace(self, input=it) for name, it in self.input.alternatives().items()}

    @property
    def is_input_assumed(self) -> bool:
        """True if nobody declared how pixels are scaled, and the graph does not show it."""
        made = self.pin.assumptions
        return self.pin.modality == "image" and (
            made is not None and "range" in made and made["range"].source == "assumed"
        )

    def prepare(self, contents: Sequence[bytes]) -> Any:
        """Return the argument of ``features`` for the contents of items.

        Raises:
            ValueError: A content cannot be decoded; the message is the reason.
        """
        return self.input.prepare(contents)

    def features(self, preprocessed: Any) -> tf.Tensor:
        """Compute features, float32 [n, dimension], with ``training=False``.

        The method may be traced into a saved function. The object that is saved must keep
        ``loaded.modules``, so that the variables are saved as well.
        """
        vectors = vectors_of(self.loaded, self.input, self.pin.output, preprocessed)
        return tf.ensure_shape(vectors, [None, self.dimension])

    def encode(self, contents: Sequence[bytes]) -> np.ndarray:
        """Compute features, float32 [n, dimension], of items' contents, with current variables."""
        prepared = tf.convert_to_tensor(self.prepare(contents))
        vectors: np.ndarray = self.features(prepared).numpy()
        return vectors

    def computation(self, batch_size: int, where: str) -> Computation:
        """Return the computation of features in batches of one size, for a step."""
        forward = traced(self.features).get_concrete_function(self.input.spec(batch_size))
        return Computation(
            where=where,
            input=self.input,
            prepare=self.prepare,
            forward=forward,
            batch_size=batch_size,
            dimension=self.dimension,
            modules=self.loaded.modules,
        )


def load_encoder(folder: Path, where: str = "load_encoder") -> Encoder:
    """Load an encoder that ``import_encoder`` wrote; every byte is verified before loading.

    The encoder reproduces the golden outputs of its pin, so this runtime computes the same features
    as the one in which the encoder was pinned.

    Raises:
        BlocksError: The folder is no finished encoder, the SavedModel is not at the place that the
            pin's ``loading`` decides, a file differs, TensorFlow cannot load the SavedModel, or its
            golden outputs differ.
    """
    open_folder(folder, FORMAT, where).file(PIN_NAME)
    return load_pinned(folder, where)


def load_pinned(folder: Path, where: str) -> Encoder:
    """Load an encoder that ``encoder pin`` wrote.

    The checks are those of ``load_encoder``, but the folder need not be an output of a step.

    Raises:
        BlocksError: The encoder cannot be loaded, or differs from its pin; see ``load_encoder``.
    """
    pin = read_pin(folder / PIN_NAME)
    saved_model = pinned_saved_model(pin, folder, where)
    import_packages(pin.operations.packages, where)
    encoder_input = read_input(pin.modality, pin.input, str(folder / PIN_NAME))
    encoder = Encoder(pin, encoder_input, load_as_pinned(pin, saved_model, where))
    check_golden(pin.golden, golden_outputs(encoder.encode(encoder_input.samples())), where)
    return encoder


def load_as_pinned(pin: Pin, saved_model: Path, where: str) -> SavedObject:
    """Load the SavedModel of a pin with the signature and the sample rate that the pin states."""
    return load_object(
        saved_model,
        where,
        pin.operations.allowed or (),
        signature=pin.calling.signature if pin.calling else None,
        rate_hz=pin.input.get("rate_hz"),
    )


def vectors_of(
    loaded: SavedObject, encoder_input: Modality, output: EncoderOutput, preprocessed: Any
) -> tf.Tensor:
    """Return an encoder's vectors for preprocessed items, float32, by output key and pooling."""

    def call(inputs: Any) -> tf.Tensor:
        return tf.cast(output_of(loaded.call(inputs), output.key), tf.float32)

    return encoder_input.encode(call, preprocessed, output.pooling)


def output_of(given: Any, key: str | None) -> Any:
    """Return the output of an encoder that a pin names."""
    if key is None:
        return given
    return given[key] if isinstance(given, Mapping) else given[int(key)]
