"""Images: JPEG, PNG, GIF and BMP files.

An image is valid if ``tf.io.decode_image`` decodes it. Pillow does the check without TensorFlow.
Where Pillow is more lenient (truncated PNG, GIF and BMP files, rare kinds of BMP), this module adds
its own checks.
"""

# decisions 4 and 16

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfhub_blocks.compute.modalities.modality import Limits, Modality, Shown

DEFAULT_SIZE_PX = 224
# TF Hub's common signature for images; a SavedModel does not state its range.
DEFAULT_RANGE = (0.0, 1.0)
# The reductions that the JPEG decoder offers; each divides both sides by its number.
JPEG_FRACTIONS = (2, 4, 8)
THUMBNAIL_PX = 160
FORMATS = ("JPEG", "PNG", "GIF", "BMP")
# The bound for any image that is decoded; a data set has a lower one, max_pixels.
MAX_DECODED_PIXELS = 2**28

_FTYP_IMAGES = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC"}
_FOREIGN_IMAGES = {
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"8BPS": "PSD",
    b"%PDF": "PDF",
    b"\0\0\1\0": "ICO",
    b"<svg": "SVG",
    b"<?xml": "SVG or another XML",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
}

# The end of a PNG: the type and checksum of its last chunk, which has no content.
_PNG_END = b"IEND\xaeB`\x82"

# The limit is ``max_pixels``, which is checked below for each frame before it is decoded.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class Images(Modality):
    """The conversion of encoded images to float32 [n, height, width, 3] within a range.

    An image is resized to the encoder's size by bilinear filtering with antialiasing. Its aspect
    ratio is not kept, nothing is cropped, and an EXIF orientation is not applied. Of a GIF, only
    the first frame is used. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if the result is not
    smaller than the encoder's size: the decoder skips detail that resizing would average away.
    """

    name: ClassVar[str] = "image"
    extensions: ClassVar[frozenset[str]] = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp"})

    size_px: tuple[int, int]
    range: tuple[float, float]
    dtype: Literal["float32"] = "float32"

    @classmethod
    def content_fault(cls, content: bytes, limits: Limits) -> str | None:
        """Return the reason why TensorFlow cannot decode the content, or None."""
        return _fault(content, limits.max_pixels)

    @classmethod
    def header_fault(cls, content: bytes, limits: Limits) -> str | None:
        """Return a sentence if the content is another format or too large, else None.

        The check reads the header only, but every frame of a GIF.
        """
        return _fault(content, limits.max_pixels, header_only=not content.startswith(b"GIF"))

    @classmethod
    def shown(cls, content: bytes) -> Shown:
        """Return the image as a small PNG."""
        with Image.open(io.BytesIO(content)) as image:
            small = image.convert("RGB")
        small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        return Shown(media=_png(small), media_type="image/png")

    @classmethod
    def samples(cls) -> tuple[bytes, ...]:
        """Return two by two black pixels, a colour gradient, and noise, as PNG."""
        slope = np.indices((48, 64)).transpose(1, 2, 0) * (5, 4)
        slope = np.dstack([slope, 255 - slope[..., 1]])
        noise = np.arange(64 * 48 * 3, dtype=np.uint32) * 2654435761 >> 24
        pixels = (np.zeros((2, 2, 3)), slope, noise.reshape(64, 48, 3))
        return tuple(_png(Image.fromarray(each.astype(np.uint8))) for each in pixels)

    @classmethod
    def recognise(cls, spec: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Recognise float32 [None, height, width, 3].

        A size that the spec leaves open is 224 pixels, and the range is 0 to 1.
        """
        if spec.dtype.name != "float32" or spec.shape.rank != 4:
            return None
        batch, *size_px, channels = spec.shape.as_list()
        if batch is not None or channels != 3:
            return None
        stated = {"size_px": size_px} if None not in size_px else {}
        usual = [side or DEFAULT_SIZE_PX for side in size_px]
        return stated, {"size_px": usual, "range": list(DEFAULT_RANGE)}

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield a fault for an empty size and for an empty range."""
        if min(self.size_px) < 1:
            problem = f"{list(self.size_px)} has a side below 1"
            yield "size_px", problem, "[height, width], 1 or more each"
        if not self.range[0] < self.range[1]:
            yield "range", f"{list(self.range)} is an empty range", "[lowest, highest]"

    def decode(self, content: bytes) -> bytes:
        """Return the content unchanged; TensorFlow decodes it.

        Raises:
            ValueError: The header states more than ``MAX_DECODED_PIXELS``.
        """
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                pixels = image.width * image.height
        except Exception:  # TensorFlow reports what is wrong with other contents
            return content
        if pixels > MAX_DECODED_PIXELS:
            raise ValueError(f"the image has {pixels:,} pixels, more than {MAX_DECODED_PIXELS:,}")
        return content

    def preprocess(self, contents: Any) -> Any:
        """Return images, float32 [n, height, width, 3], of encoded images, string [n].

        TensorFlow raises InvalidArgumentError for an item that it cannot decode.
        """
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        low, high = self.range
        # Multiply instead of divide: graph optimizers replace a division by a multiplication.
        scale = np.float32((high - low) / 255)

        def image(content: Any) -> Any:
            pixels = self.pixels(content)
            pixels = tf.image.resize(pixels, self.size_px, method="bilinear", antialias=True)
            return pixels * scale + np.float32(low)

        spec = tf.TensorSpec([*self.size_px, 3], tf.float32)
        # One at a time: decoded images may be large, and the caller fills the cores with batches.
        return tf.map_fn(image, contents, fn_output_signature=spec, parallel_iterations=1)

    def pixels(self, content: Any) -> Any:
        """Return one image, uint8 [height, width, 3]; a large JPEG at a fraction of its size."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        def whole() -> Any:
            return tf.io.decode_image(content, channels=3, expand_animations=False)

        def reduced(fraction: int) -> Any:
            return tf.io.decode_jpeg(content, channels=3, ratio=fraction)

        def jpeg() -> Any:
            size_px = tf.image.extract_jpeg_shape(content)[:2]
            large = [tf.reduce_all(-(-size_px // n) >= self.size_px) for n in JPEG_FRACTIONS]
            choices = [whole, *(partial(reduced, fraction) for fraction in JPEG_FRACTIONS)]
            return tf.switch_case(tf.reduce_sum(tf.cast(large, tf.int32)), choices)

        pixels = tf.cond(tf.io.is_jpeg(content), jpeg, whole)
        return tf.ensure_shape(pixels, [None, None, 3])

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the encoder's input besides the contents."""
        return {
            "modality": self.name,
            "decode": "tf.io.decode_image, 3 channels, first frame; JPEG reduced by 2, 4 or 8",
            "resize": "bilinear, antialias, aspect ratio not kept",
            "size_px": list(self.size_px),
            "range": list(self.range),
            "version": 2,
        }


def _png(image: Image.Image) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def _fault(content: bytes, max_pixels: int, header_only: bool = False) -> str | None:
    foreign = _foreign_image(content)
    if foreign:
        return f"the file is {foreign}, which encoders do not decode: convert it to JPEG or PNG"
    stream = io.BytesIO(content)
    try:
        with Image.open(stream, formats=FORMATS) as image:
            if header_only:
                return _size_fault(image, image.width * image.height, max_pixels)
            return _frames_fault(image, max_pixels) or _end_fault(image, content, stream.tell())
    except UnidentifiedImageError:
        return "the file is not an image"
    except Exception as error:  # a decoder may raise anything on hostile bytes
        return f"the image cannot be decoded: {error or type(error).__name__}"


def _frames_fault(image: Image.Image, max_pixels: int) -> str | None:
    # Of other formats than GIF, TensorFlow decodes only the first picture.
    pixels, frame = 0, 0
    while True:
        pixels += image.width * image.height
        fault = _size_fault(image, pixels, max_pixels, frame)
        if fault:
            return fault
        # At an eighth of its size the decoder still reads every coefficient, in half the time.
        image.draft("RGB", (1, 1))
        image.load()
        if image.format != "GIF":
            return None
        frame += 1
        try:
            image.seek(frame)
        except EOFError:
            return None


def _size_fault(image: Image.Image, pixels: int, max_pixels: int, frame: int = 0) -> str | None:
    if pixels <= max_pixels:
        return None
    frames = f" in each of {frame + 1} frames or more" if frame else ""
    size = f"{image.width} x {image.height} pixels{frames}"
    return f"the image has {size}, more than {max_pixels} pixels"


def _end_fault(image: Image.Image, content: bytes, position: int) -> str | None:
    """Return the reason why TensorFlow rejects an image that Pillow reads, or None.

    The reasons are a truncation by the last few bytes, and rare kinds of BMP.
    """
    is_whole = True
    if image.format == "PNG":
        is_whole = _PNG_END in content
        # ``verify`` raises for a wrong checksum, which loading ignores; it needs an unread image.
        if is_whole:
            Image.open(io.BytesIO(content), formats=("PNG",)).verify()
    elif image.format == "GIF":
        is_whole = content[position - 1 : position] == b";"
    elif image.format == "BMP":
        pixels_start, _, width, height = struct.unpack_from("<IIii", content, 10)
        bits, compression = struct.unpack_from("<HI", content, 28)
        if bits not in (8, 24, 32) or compression or image.mode not in ("L", "RGB", "RGBA"):
            return "the file is a BMP with a palette, bit masks or compression: convert it to PNG"
        row_bytes = (width * bits + 31) // 32 * 4
        is_whole = len(content) == pixels_start + row_bytes * abs(height)
    return None if is_whole else "the image is truncated, or has more bytes than its header states"


def _foreign_image(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    if content[4:8] == b"ftyp":
        return _FTYP_IMAGES.get(content[8:12])
    return next(
        (name for start, name in _FOREIGN_IMAGES.items() if content.startswith(start)), None
    )
