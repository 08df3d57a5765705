"""Images: files that ``pictures`` decodes, such as JPEG, PNG, WebP and HEIC."""

# decisions 4, 16, 75, 76 and 95

import io
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image

from tfhub_blocks.compute.modalities.batches import ANY, UNBATCHED, in_batches, one_vector
from tfhub_blocks.compute.modalities.modality import Decoder, Limits, Modality, Shown
from tfhub_blocks.records.pins.pins import Pooling

DEFAULT_SIZE_PX = 224
# TF Hub's common signature for images; a SavedModel does not state its range.
DEFAULT_RANGE = (0.0, 1.0)
THUMBNAIL_PX = 160
MOST_LEVEL = 255
# A note, as those of ``pictures``.
CONSTANT = "are of one colour throughout"
INTEGERS: Mapping[str, tuple[int, int]] = {
    "uint8": (0, 255),
    "uint16": (0, 65535),
    "int8": (-128, 127),
    "int32": (0, 255),
}
FRACTIONS = ("float32", "float16", "bfloat16", "float64")
CHANNELS = {1: "grey", 3: "rgb"}
# The weights of red, green and blue in a grey picture (ITU-R BT.601), as Pillow has them.
GREY_WEIGHTS = (0.299, 0.587, 0.114)
# The ranges that networks commonly expect, and the means and deviations of ImageNet's pixels.
RANGES = (DEFAULT_RANGE, (-1.0, 1.0), (0.0, 255.0))
TORCH = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = (103.939, 116.779, 123.68)
DECODING = frozenset(
    {"DecodeJpeg", "DecodePng", "DecodeImage", "DecodeAndCropJpeg", "DecodeBmp", "DecodeGif"}
    | {"DecodeWebP"}
)


# The limit is ``max_pixels``, which is checked below for each frame before it is decoded.
Image.MAX_IMAGE_PIXELS = None
# Pillow warns about tags that it skips, once for each file.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


@dataclass(frozen=True)
class Images(Modality):
    """The conversion of encoded images to float32 [n, height, width, 3] within a range.

    An image is resized to the encoder's size by bilinear filtering with antialiasing. Its aspect
    ratio is not kept, and nothing is cropped. The image is seen as a person sees it: its
    orientation is applied, and transparent pixels are mixed with ``background``. Of several frames,
    only the first is used. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if the result is not
    smaller than the encoder's size: the decoder skips detail that resizing would average away.

    ``size_px`` and ``range`` are required unless ``encoded`` is set.

    ``encode`` turns this into the form that the encoder takes, in this order: ``channels``, then
    ``mean`` and ``deviation`` (one number, or one for each channel in the encoder's order), then
    ``dtype`` and ``layout``. ``batch`` is the number of items in each call, 0 for any, and -1 for
    an encoder without a dimension for items. With ``encoded``, the encoder gets files: a JPEG as
    it is, and any other picture as the PNG of what a person sees.
    """

    name: ClassVar[str] = "image"
    extensions: ClassVar[frozenset[str]] = frozenset(
        {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".avif", ".heic", ".heif", ".tif"}
        | {".tiff"}
    )
    requirements: ClassVar[tuple[str, ...]] = ("pi-heif", "pillow", "simplejpeg")
    implied: ClassVar[frozenset[str]] = frozenset(
        {"background", "layout", "channels", "mean", "deviation", "batch", "encoded"}
        | {"size_px", "range"}
    )
    preparation: ClassVar[str] = "2"

    size_px: tuple[int, int] = (0, 0)
    range: tuple[float, float] = (0.0, 0.0)
    dtype: Literal[
        "float32", "float16", "bfloat16", "float64", "uint8", "uint16", "int8", "int32", "string"
    ] = "float32"
    background: tuple[int, int, int] = (255, 255, 255)
    layout: Literal["nhwc", "nchw"] = "nhwc"
    channels: Literal["rgb", "bgr", "grey"] = "rgb"
    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None
    batch: int = ANY
    encoded: Literal["no", "file", "base64"] = "no"

    @classmethod
    def examine(
        cls, content: bytes, limits: Limits, detail_px: int = 1
    ) -> tuple[str | None, tuple[str, ...], Any]:
        """Return the fault, the notes of ``read`` and one about constant images, and the pixels.

        All frames of a GIF are decoded.
        """
        from tfhub_blocks.compute.modalities import pictures

        notes: list[str] = []

        def check_frame(image: Image.Image, frame: int) -> None:
            pixels = (frame + 1) * image.width * image.height
            if fault := _size_fault(image.width, image.height, pixels, limits, frame):
                raise pictures.RejectedError(fault)

        try:
            # At an eighth of its size a JPEG's decoder still reads every coefficient.
            least = (detail_px, detail_px)
            pixels = pictures.read(content, pictures.WHITE, least, _size_check(limits), notes)
            pictures.check_frames(content, check_frame)
        except ValueError as error:
            return str(error), (), None
        # Most pictures differ in a few pixels already.
        if np.ptp(pixels[::16, ::16], axis=(0, 1)).max() == 0 and (pixels == pixels[0, 0]).all():
            notes.append(CONSTANT)
        return None, tuple(notes), pixels

    @classmethod
    def content_fault(cls, content: bytes, limits: Limits) -> str | None:
        """Return the reason why the content cannot be decoded, or None."""
        return cls.examine(content, limits)[0]

    @classmethod
    def header_fault(cls, content: bytes, limits: Limits) -> str | None:
        """Return a sentence if the content is another format or too large, else None.

        The check reads the header only, but every frame of a GIF.
        """
        from tfhub_blocks.compute.modalities import pictures

        if content.startswith(b"GIF"):
            return cls.content_fault(content, limits)
        try:
            _size_check(limits)(*pictures.size_of(content))
        except ValueError as error:
            return str(error)
        return None

    @classmethod
    def shown(cls, content: bytes) -> Shown:
        """Return the image as a small PNG: upright, and on white."""
        from tfhub_blocks.compute.modalities import pictures

        least = (THUMBNAIL_PX, THUMBNAIL_PX)
        small = Image.fromarray(np.ascontiguousarray(pictures.read(content, least_px=least)))
        small.thumbnail(least)
        return Shown(media=_png(small), media_type="image/png")

    def seen(self, content: bytes) -> Shown:
        """Return the image as the encoder gets it, at most as large as other thumbnails."""
        if self.encoded != "no":
            return self.shown(content)
        low, high = self.range
        levels = (self.decode(content) - low) * (MOST_LEVEL / (high - low))
        small = Image.fromarray(levels.round().clip(0, MOST_LEVEL).astype(np.uint8))
        small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        return Shown(media=_png(small), media_type="image/png")

    @classmethod
    def previewed(cls, content: bytes) -> Shown:
        """Return the image as an encoder of 224 by 224 pixels gets it."""
        return cls((DEFAULT_SIZE_PX, DEFAULT_SIZE_PX), DEFAULT_RANGE).seen(content)

    @classmethod
    def samples(cls) -> tuple[bytes, ...]:
        """Return two by two black pixels, a colour gradient, and noise, as PNG."""
        slope = np.indices((48, 64)).transpose(1, 2, 0) * (5, 4)
        slope = np.dstack([slope, 255 - slope[..., 1]])
        noise = np.arange(64 * 48 * 3, dtype=np.uint32) * 2654435761 >> 24
        pixels = (np.zeros((2, 2, 3)), slope, noise.reshape(64, 48, 3))
        return tuple(_png(Image.fromarray(each.astype(np.uint8))) for each in pixels)

    @classmethod
    def recognise(
        cls, spec: Any, operations: Collection[str] = ()
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Recognise pictures: [batch, height, width, channels], channels first, or encoded files.

        A size that the spec leaves open is 224 pixels. The range is 0 to 1, or all values of an
        integer type.
        """
        if spec.dtype.name == "string":
            return cls._recognised_files(spec, operations)
        integers = INTEGERS.get(spec.dtype.name)
        if spec.shape.rank not in (3, 4) or not (integers or spec.dtype.name in FRACTIONS):
            return None
        sides = spec.shape.as_list()
        stated: dict[str, Any] = {}
        batch, sides = (sides[0], sides[1:]) if len(sides) == 4 else (UNBATCHED, sides)
        if batch is not None:
            stated["batch"] = batch
        if sides[2] not in CHANNELS and sides[0] in CHANNELS:
            stated["layout"] = "nchw"
            sides = [*sides[1:], sides[0]]
        *size_px, channels = sides
        if channels not in CHANNELS and (channels is not None or batch == UNBATCHED):
            return None
        if batch == UNBATCHED and channels == 1:  # windows of sound
            return None
        if channels == 1:
            stated["channels"] = "grey"
        if spec.dtype.name != "float32":
            stated["dtype"] = spec.dtype.name
        if None not in size_px:
            stated["size_px"] = size_px
        usual = [side or DEFAULT_SIZE_PX for side in size_px]
        return stated, {"size_px": usual, "range": list(map(float, integers or DEFAULT_RANGE))}

    @classmethod
    def _recognised_files(
        cls, spec: Any, operations: Collection[str]
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        if not DECODING & set(operations) or spec.shape.rank not in (0, 1):
            return None
        batch = spec.shape[0] if spec.shape.rank else UNBATCHED
        stated = {"batch": batch} if batch is not None else {}
        kind = "base64" if "DecodeBase64" in operations else "file"
        return {"encoded": kind, "dtype": "string", **stated}, {}

    def alternatives(self) -> Mapping[str, "Images"]:
        """Return inputs with other ranges, means and orders of channels, by their facts."""
        if self.encoded != "no" or self.dtype in INTEGERS:
            return {}
        plain = {"mean": None, "deviation": None}
        changes: dict[str, dict[str, Any]] = {
            f"range={low:g}:{high:g}": {**plain, "range": (low, high), "channels": self.channels}
            for low, high in RANGES
        }
        if self.channels != "grey":
            mean, deviation = (":".join(map(str, each)) for each in TORCH)
            changes[f"range=0:1,mean={mean},deviation={deviation}"] = {
                "range": (0.0, 1.0),
                "channels": "rgb",
                "mean": TORCH[0],
                "deviation": TORCH[1],
            }
            changes[f"range=0:255,channels=bgr,mean={':'.join(map(str, CAFFE))}"] = {
                **plain,
                "range": (0.0, 255.0),
                "channels": "bgr",
                "mean": CAFFE,
            }
            other = "bgr" if self.channels == "rgb" else "rgb"
            changes[f"channels={other}"] = {"channels": other}
        inputs = {name: replace(self, **change) for name, change in changes.items()}
        return {name: each for name, each in inputs.items() if each != self}

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield a fault for each value that is impossible, or does not fit the others."""
        for key, value in (("size_px", self.size_px), ("range", self.range)):
            if self.encoded == "no" and value == (0, 0):
                yield key, f"key 'input.{key}' is missing", "a list of two numbers"
        if self.encoded == "no" and min(self.size_px) < 1:
            problem = f"{list(self.size_px)} has a side below 1"
            yield "size_px", problem, "[height, width], 1 or more each"
        if self.encoded == "no" and not self.range[0] < self.range[1]:
            yield "range", f"{list(self.range)} is an empty range", "[lowest, highest]"
        if not all(0 <= level <= MOST_LEVEL for level in self.background):
            problem = f"{list(self.background)} has a level outside 0 to {MOST_LEVEL}"
            yield "background", problem, f"[red, green, blue], 0 to {MOST_LEVEL} each"
        counts = (1,) if self.channels == "grey" else (1, 3)
        for name in ("mean", "deviation"):
            numbers = getattr(self, name)
            if numbers is not None and len(numbers) not in counts:
                problem = f"{name} has {len(numbers)} numbers for {self.channels} pictures"
                yield name, problem, f"{' or '.join(map(str, counts))} numbers"
        if self.deviation is not None and min(self.deviation) <= 0:
            yield "deviation", f"{list(self.deviation)} has a number of 0 or less", "more than 0"
        if self.batch < UNBATCHED:
            yield "batch", f"batch is {self.batch}", "0 for any number of items, or a number"
        if (self.encoded == "no") == (self.dtype == "string"):
            problem = f"dtype is {self.dtype} and encoded is {self.encoded}"
            yield "encoded", problem, "encoded=file or base64 with dtype=string, or neither of them"

    @property
    def decoder(self) -> Decoder:
        """The program that decodes and resizes."""
        from tfhub_blocks.compute.modalities import pictures

        options = {
            "size_px": list(self.size_px),
            "value_range": list(self.range),
            "background": list(self.background),
        }
        if self.encoded != "no":
            options = {"background": list(self.background), "as_file": True}
        return Decoder(Path(pictures.__file__), options)

    def decode(self, content: bytes) -> Any:
        """Return the image, float32 [height, width, 3], or its file for an encoder of files."""
        from tfhub_blocks.compute.modalities import pictures

        return pictures.decode(content, **self.decoder.options)

    def stacked(self, decoded: Sequence[Any]) -> Any:
        """Return decoded images as one array, float32 [n, height, width, 3], or as strings."""
        return super().stacked(decoded) if self.encoded != "no" else np.stack(decoded)

    def spec(self, batch_size: int | None) -> Any:
        """Return the TensorSpec of a batch of images."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        if self.encoded != "no":
            return super().spec(batch_size)
        return tf.TensorSpec([batch_size, *self.size_px, 3], tf.float32)

    @property
    def bare_limits(self) -> str:
        """The differences of ``preprocess`` from ``decode``."""
        if self.encoded != "no":
            return (
                "It passes files to the encoder as they are, so the encoder itself decides about "
                "orientation, transparency and formats. Use the signature 'prepared', or the "
                "MLflow model, for the answers that were evaluated."
            )
        return (
            "It decodes JPEG, PNG, GIF, BMP and WebP files in TensorFlow. It ignores the "
            "orientation tag, leaves out transparency (the colours behind transparent pixels "
            "appear), keeps the highest 8 bits of 16, and rejects AVIF, HEIC and TIFF. Use the "
            "signature 'prepared', or the MLflow model, for the answers that were evaluated."
        )

    def preprocess(self, contents: Any) -> Any:
        """Return images, float32 [n, height, width, 3], of encoded images, string [n].

        This is the SavedModel's signature for files (see ``bare_limits``). TensorFlow raises
        InvalidArgumentError for an item that it cannot decode.
        """
        from tfhub_blocks.compute.modalities.pictures import JPEG_FRACTIONS
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        if self.encoded != "no":
            return tf.identity(contents)
        low, high = self.range
        # Multiply instead of divide: graph optimizers replace a division by a multiplication.
        scale = np.float32((high - low) / MOST_LEVEL)

        def pixels(content: Any) -> Any:
            def whole() -> Any:
                return tf.io.decode_image(content, channels=3, expand_animations=False)

            def reduced(fraction: int) -> Any:
                return tf.io.decode_jpeg(content, channels=3, ratio=fraction)

            def jpeg() -> Any:
                size_px = tf.image.extract_jpeg_shape(content)[:2]
                large = [tf.reduce_all(-(-size_px // n) >= self.size_px) for n in JPEG_FRACTIONS]
                choices = [whole, *(partial(reduced, fraction) for fraction in JPEG_FRACTIONS)]
                return tf.switch_case(tf.reduce_sum(tf.cast(large, tf.int32)), choices)

            decoded = tf.cond(tf.io.is_jpeg(content), jpeg, whole)
            return tf.ensure_shape(decoded, [None, None, 3])

        def image(content: Any) -> Any:
            filtered = tf.image.resize(
                pixels(content), self.size_px, method="bilinear", antialias=True
            )
            return filtered * scale + np.float32(low)

        spec = tf.TensorSpec([*self.size_px, 3], tf.float32)
        # One at a time: decoded images may be large, and the caller fills the cores with batches.
        return tf.map_fn(image, contents, fn_output_signature=spec, parallel_iterations=1)

    def encode(self, call: Callable[[Any], Any], inputs: Any, pooling: Pooling) -> Any:
        """Return the vectors; the pictures are passed in the form that the encoder takes."""
        from tfhub_blocks.compute.modalities.pooling import pooled

        def vectors(pictures: Any) -> Any:
            given = call(self._taken(pictures))
            is_one = self.batch == UNBATCHED
            return one_vector(given, pooling) if is_one else pooled(given, pooling)

        return in_batches(vectors, inputs, self.batch)

    def _taken(self, pictures: Any) -> Any:
        """Return pictures in the encoder's form, from float32 [..., height, width, 3]."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        if self.encoded != "no":
            is_base64 = self.encoded == "base64"
            return tf.io.encode_base64(pictures, pad=True) if is_base64 else pictures
        if self.channels == "bgr":
            pictures = tf.reverse(pictures, [-1])
        elif self.channels == "grey":
            pictures = tf.reduce_sum(
                pictures * np.array(GREY_WEIGHTS, np.float32), axis=-1, keepdims=True
            )
        if self.mean is not None:
            pictures = pictures - np.array(self.mean, np.float32)
        if self.deviation is not None:
            pictures = pictures * (1 / np.array(self.deviation, np.float32))
        if self.dtype in INTEGERS:
            pictures = tf.saturate_cast(tf.round(pictures), self.dtype)
        elif self.dtype != "float32":
            pictures = tf.cast(pictures, self.dtype)
        if self.layout == "nchw":
            before = [0] if pictures.shape.rank == 4 else []
            shift = len(before)
            pictures = tf.transpose(pictures, [*before, shift + 2, shift, shift + 1])
        return pictures

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the encoder's input besides the contents."""
        if self.encoded != "no":
            described: dict[str, Any] = {
                "modality": self.name,
                "preparation": self.preparation,
                "decode": "by the encoder: JPEG as it is, others as PNG, upright, first frame",
                "encoded": self.encoded,
                "background": list(self.background),
            }
        else:
            described = {
                "modality": self.name,
                "preparation": self.preparation,
                "decode": "8 bits, 3 channels, upright, first frame; JPEG reduced by 2, 4 or 8",
                "resize": "bilinear, antialias, aspect ratio not kept",
                "size_px": list(self.size_px),
                "range": list(self.range),
                "background": list(self.background),
            }
        if self.channels != "rgb":
            described["channels"] = self.channels
        if self.dtype not in ("float32", "string"):
            described["dtype"] = self.dtype
        for name in ("mean", "deviation"):
            if getattr(self, name) is not None:
                described[name] = list(getattr(self, name))
        return described


def _png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def _size_check(limits: Limits) -> Callable[[int, int], None]:
    """Return the check of a picture's size, which runs before pixels are decoded."""
    from tfhub_blocks.compute.modalities.pictures import RejectedError

    def check(width: int, height: int) -> None:
        if fault := _size_fault(width, height, width * height, limits):
            raise RejectedError(fault)

    return check


def _size_fault(width: int, height: int, pixels: int, limits: Limits, frame: int = 0) -> str | None:
    if pixels <= limits.max_pixels:
        return None
    frames = f" in each of {frame + 1} frames or more" if frame else ""
    size = f"{width} x {height} pixels{frames}"
    return f"the image has {size}, more than {limits.max_pixels} pixels"
