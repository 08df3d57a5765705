"""Preprocessing: from an item's bytes to what an encoder takes, the same at every place.

Extraction runs it, and a served model contains it. One adapter a modality; another modality is
another class and another line in ``ADAPTERS``.
"""

import base64
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tfhub_blocks.compute.runtime import tf
from tfhub_blocks.records.pins import EncoderInput

DEFAULT_SIZE_PX = (224, 224)
# Two by two black pixels, as PNG.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAC0lEQVR4nGNgQAYAAA4AAamRc7EAAAAASUVORK5CYII="
)


class Preprocessing(Protocol):
    """What turns items of one modality into an encoder's input."""

    def __init__(self, encoder_input: EncoderInput) -> None: ...

    @staticmethod
    def recognise(spec: tf.TensorSpec, free_size_px: tuple[int, int] | None) -> EncoderInput | None:
        """The input that an encoder declares by this spec, or None if it is another modality's."""

    def __call__(self, contents: tf.Tensor) -> tf.Tensor:
        """The encoder's input [n, ...] for items' contents, string [n]; runs in any graph."""

    def describe(self) -> dict[str, Any]:
        """All that decides the result besides the contents, JSON-ready."""

    def example(self) -> bytes:
        """The smallest item there is."""


@dataclass(frozen=True)
class ImagePreprocessing:
    """JPEG, PNG, GIF (its first frame) or BMP to float32 [n, height, width, 3] within a range.

    The image is resized to the encoder's size by bilinear filtering with antialiasing; its aspect
    ratio is not kept, nothing is cropped, and an EXIF orientation is not applied.
    """

    encoder_input: EncoderInput

    @staticmethod
    def recognise(spec: tf.TensorSpec, free_size_px: tuple[int, int] | None) -> EncoderInput | None:
        """Float32 [None, height, width, 3]; a size that is free is ``free_size_px``.

        No SavedModel says its range: it is TF Hub's, 0 to 1, unless a pin says otherwise.
        """
        if spec.dtype != tf.float32 or spec.shape.rank != 4:
            return None
        batch, height_px, width_px, channels = spec.shape.as_list()
        if batch is not None or channels != 3:
            return None
        free_height_px, free_width_px = free_size_px or DEFAULT_SIZE_PX
        size_px = (height_px or free_height_px, width_px or free_width_px)
        return EncoderInput("image", "float32", size_px, (0.0, 1.0))

    def __call__(self, contents: tf.Tensor) -> tf.Tensor:
        """Images, float32 [n, height, width, 3], of encoded images, string [n].

        An item that cannot be decoded raises TensorFlow's InvalidArgumentError.
        """
        size_px, (low, high) = self._size_and_range()
        # A product, not a quotient: graph optimizers turn the latter into the former.
        scale = np.float32((high - low) / 255)

        def image(content: tf.Tensor) -> tf.Tensor:
            pixels = tf.io.decode_image(content, channels=3, expand_animations=False)
            pixels = tf.image.resize(pixels, size_px, method="bilinear", antialias=True)
            return pixels * scale + np.float32(low)

        spec = tf.TensorSpec([*size_px, 3], tf.float32)
        # One at a time: decoded images may be large, and the caller fills the cores with batches.
        return tf.map_fn(image, contents, fn_output_signature=spec, parallel_iterations=1)

    def describe(self) -> dict[str, Any]:
        """All that decides the result besides the contents."""
        size_px, value_range = self._size_and_range()
        return {
            "modality": "image",
            "decode": "tf.io.decode_image, 3 channels, first frame",
            "resize": "bilinear, antialias, aspect ratio not kept",
            "size_px": list(size_px),
            "range": list(value_range),
            "version": 1,
        }

    def example(self) -> bytes:
        """A PNG of two by two pixels."""
        return PNG

    def _size_and_range(self) -> tuple[tuple[int, int], tuple[float, float]]:
        if self.encoder_input.size_px is None or self.encoder_input.range is None:
            raise ValueError("a pin of an image encoder states size_px and range")
        return self.encoder_input.size_px, self.encoder_input.range


@dataclass(frozen=True)
class TextPreprocessing:
    """Text as it is: string [n], UTF-8; the encoder has its own tokenizer."""

    encoder_input: EncoderInput

    @staticmethod
    def recognise(spec: tf.TensorSpec, _: tuple[int, int] | None) -> EncoderInput | None:
        """A vector of strings."""
        is_text = spec.dtype == tf.string and spec.shape.as_list() == [None]
        return EncoderInput("text", "string") if is_text else None

    def __call__(self, contents: tf.Tensor) -> tf.Tensor:
        """The contents themselves."""
        return tf.identity(contents)

    def describe(self) -> dict[str, Any]:
        """All that decides the result besides the contents."""
        return {"modality": "text", "version": 1}

    def example(self) -> bytes:
        """A text."""
        return b"text"


ADAPTERS: dict[str, type[Preprocessing]] = {
    "image": ImagePreprocessing,
    "text": TextPreprocessing,
}


def preprocessing_of(encoder_input: EncoderInput) -> Preprocessing:
    """The preprocessing for an encoder's input."""
    return ADAPTERS[encoder_input.modality](encoder_input)
