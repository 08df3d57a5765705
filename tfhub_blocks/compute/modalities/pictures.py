"""Pictures: from a file's bytes to an encoder's input, without TensorFlow.

Models contain a copy of this file, so it imports nothing from tfhub_blocks.
"""

# decisions 4, 16, 75 and 76

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

# The version of everything that this file decides. A new number computes all features again.
PREPARATION = "2"
WHITE = (255, 255, 255)
# The bound for any picture that is decoded; a data set has a lower one. A header can claim more.
MAX_DECODED_PIXELS = 2**28
# The reductions that the JPEG decoder offers; each divides both sides by its number.
JPEG_FRACTIONS = (2, 4, 8)
# If both sides are smaller, two of the decoder's reductions may have the same size.
LEAST_REDUCED_PX = 8
# The bits of a value in files with more than 8: of cameras, scanners and medical devices.
DEPTHS = (8, 10, 12, 14, 16)
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF", "TIFF", "HEIF")

Pixels = NDArray[np.uint8]
Bands = tuple[tuple[int, int, int, int, NDArray[np.float32]], ...]
CheckSize = Callable[[int, int], None]
"""Called with width and height before pixels are decoded; raises RejectedError for too many."""

# The notes of ``read``, as a warning about several pictures states them.
TURNED = "have an orientation tag, which is applied"
TRANSPARENT = "are transparent in part, and are put on the background of the encoder's input"
DEEP = "have more than 8 bits in a value; each is scaled by its own largest value"
MOVING = "have several frames, of which the first is used"

_FOREIGN_IMAGES = {
    b"8BPS": "PSD",
    b"%PDF": "PDF",
    b"\0\0\1\0": "ICO",
    b"<svg": "SVG",
    b"<?xml": "SVG or another XML",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
}
_ORIENTATION_TAG = 0x0112
_XMP_ORIENTATION = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_AVIF_BRANDS = (b"avif", b"avis")
# The bytes of a 16-bit value in Pillow's raw modes, and the mode that reads the other byte.
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B"}
# OpenBLAS computes a smaller product in the calling thread. Its pool would serialise callers.
_PRODUCT = 2**18
# More rows of output in one product waste more multiplications by zero.
_BAND = 8


class RejectedError(ValueError):
    """A picture that is rejected by a check; the message is the complete reason."""


def check_decodable(width: int, height: int) -> None:
    """Check the bound for any picture.

    Raises:
        RejectedError: The picture has more than ``MAX_DECODED_PIXELS``.
    """
    pixels = width * height
    if pixels > MAX_DECODED_PIXELS:
        raise RejectedError(f"the image has {pixels:,} pixels, more than {MAX_DECODED_PIXELS:,}")


def decode(
    content: bytes,
    size_px: Sequence[int] = (0, 0),
    value_range: Sequence[float] = (0.0, 1.0),
    background: Sequence[int] = WHITE,
    as_file: bool = False,
) -> NDArray[np.float32] | bytes:
    """Return a picture as an encoder's input, float32 [height, width, 3]. See ``read``.

    The picture is stretched to the size: bilinear filtering with antialiasing.

    Args:
        content: The bytes of the file.
        size_px: Height and width.
        value_range: The values of black and of white.
        background: The colour behind transparent pixels.
        as_file: True to return a file for an encoder that decodes by itself: an upright JPEG
            unchanged, and any other picture as a PNG of all its pixels.

    Raises:
        ValueError: The content cannot be decoded; the message is the reason.
    """
    if as_file:
        return _file(content, background)
    height, width = size_px
    low, high = value_range
    image = resized(read(content, background, (height, width)), height, width)
    image *= np.float32((high - low) / 255)
    if low:
        image += np.float32(low)
    return image


def _file(content: bytes, background: Sequence[int]) -> bytes:
    notes: list[str] = []
    pixels = read(content, background, notes=notes)
    is_plain = not notes and format_of(content) == "JPEG" and _jpeg_frame(content).components == 3
    if is_plain:
        return content
    written = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(written, "PNG")
    return written.getvalue()


def read(
    content: bytes,
    background: Sequence[int] = WHITE,
    least_px: tuple[int, int] | None = None,
    check_size: CheckSize = check_decodable,
    notes: list[str] | None = None,
) -> Pixels:
    """Return the pixels of a picture as a person sees it, uint8 [height, width, 3].

    The orientation tag is applied. Transparent pixels are mixed with the background. Of several
    frames, the first is used. Values of more than 8 bits lose their lowest bits: the number of bits
    is the smallest of ``DEPTHS`` that the largest value of this picture needs.

    Args:
        content: The bytes of the file.
        background: The colour behind transparent pixels.
        least_px: Height and width. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if the result
            is not smaller.
        check_size: Called with width and height before pixels are decoded.
        notes: A list to which ``TURNED``, ``TRANSPARENT``, ``DEEP`` and ``MOVING`` are appended.

    Raises:
        ValueError: The content cannot be decoded; the message is the reason.
    """
    notes = [] if notes is None else notes
    kind = format_of(content)
    if kind is None:
        raise ValueError(_no_picture(content))
    try:
        if kind == "JPEG":
            return _read_jpeg(content, least_px, check_size, notes)
        if kind == "PNG":
            _check_png(content)
        elif _stated_bytes(content, kind) > len(content):
            raise RejectedError("the image is truncated")
        with opened(content, kind) as image:
            check_size(*image.size)
            if getattr(image, "is_animated", False):
                notes.append(MOVING)
            return _read_other(content, kind, image, background, notes)
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise _fault(error) from None


def size_of(content: bytes) -> tuple[int, int]:
    """Return width and height by the header, before the orientation is applied.

    Raises:
        ValueError: The content is not a picture, or its header is broken.
    """
    kind = format_of(content)
    if kind is None:
        raise ValueError(_no_picture(content))
    try:
        if kind == "JPEG":
            frame = _jpeg_frame(content)
            return frame.width, frame.height
        with opened(content, kind) as image:
            return image.size
    except Exception as error:  # a reader may raise anything on hostile bytes
        raise _fault(error) from None


def format_of(content: bytes) -> str | None:
    """Return Pillow's name of a picture's format by its first bytes; None if it is not known."""
    if content[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if content[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if content[:2] == b"BM":
        return "BMP"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WEBP"
    if content[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    if content[4:8] == b"ftyp":
        (length,) = struct.unpack_from(">I", content)
        # The minor version stands after the first brand.
        brands = [content[8:12], *(content[at : at + 4] for at in range(16, min(length, 256), 4))]
        if any(brand in _AVIF_BRANDS for brand in brands):
            return "AVIF"
        return "HEIF" if any(brand in _HEIF_BRANDS for brand in brands) else None
    return None


def _no_picture(content: bytes) -> str:
    for start, name in _FOREIGN_IMAGES.items():
        if content.startswith(start):
            return f"the file is {name}, which encoders do not decode: convert it to JPEG or PNG"
    return "the file is not an image"


def opened(content: bytes, kind: str) -> ImageFile.ImageFile:
    """Open a picture with Pillow, as one format; pixels are not decoded."""
    if kind == "HEIF":
        import pi_heif

        # Opening adds HEIF to Pillow's formats; a second time changes nothing.
        pi_heif.register_heif_opener()
    return Image.open(io.BytesIO(content), formats=(kind,))


def resized(pixels: Pixels, height: int, width: int) -> NDArray[np.float32]:
    """Return pixels stretched to a size, float32, by triangle weights with antialiasing.

    Equal to ``tf.image.resize(bilinear, antialias=True)`` up to rounding. Each direction is a
    product with a band matrix, whose bands are multiplied one by one.
    """
    rows, columns, channels = pixels.shape
    if (rows, columns) == (height, width):
        return pixels.astype(np.float32)
    flat: NDArray[Any] = np.ascontiguousarray(pixels).reshape(rows, columns * channels)
    if rows != height:
        flat = _down(flat, _bands(rows, height, 1))
    if columns != width:
        flat = _across(flat.astype(np.float32, copy=False), _bands(columns, width, channels))
    return flat.reshape(height, width, channels)


@dataclass(frozen=True)
class _JpegFrame:
    """The header of a JPEG."""

    width: int
    height: int
    components: int
    orientation: int
    has_adobe_marker: bool


def _fault(error: Exception) -> ValueError:
    """Return the error for a picture that cannot be decoded, with its reason in one line."""
    if isinstance(error, RejectedError):
        return error
    if isinstance(error, UnidentifiedImageError):
        return ValueError("the file is not an image")
    lines = str(error).splitlines()
    return ValueError(f"the image cannot be decoded: {lines[0] if lines else type(error).__name__}")


def _read_jpeg(
    content: bytes, least_px: tuple[int, int] | None, check_size: CheckSize, notes: list[str]
) -> Pixels:
    frame = _jpeg_frame(content)
    check_size(frame.width, frame.height)
    least: dict[str, int] = {}
    if least_px is not None and max(frame.height, frame.width) >= LEAST_REDUCED_PX:
        # The tags 5 to 8 swap height and width.
        height, width = least_px if frame.orientation < 5 else least_px[::-1]
        sizes = [(-(-frame.height // n), -(-frame.width // n)) for n in JPEG_FRACTIONS]
        fitting = [each for each in sizes if each[0] >= height and each[1] >= width]
        if fitting:
            least = {"min_height": fitting[-1][0], "min_width": fitting[-1][1]}
    colours = "CMYK" if frame.components == 4 else "RGB"
    options: dict[str, Any] = {"fastdct": True, "fastupsample": False, **least}
    try:
        pixels = simplejpeg.decode_jpeg(content, colours, **options)
    except ValueError:
        # Warnings are errors here. Pillow accepts a file with a stray byte, but not half a file.
        with opened(content, "JPEG") as image:
            image.load()
        pixels = simplejpeg.decode_jpeg(content, colours, strict=False, **options)
    if colours == "CMYK":
        inks = pixels.astype(np.uint16)
        # Programs that write Adobe's marker store the inks inverted.
        inks = inks if frame.has_adobe_marker else 255 - inks
        pixels = (inks[..., :3] * inks[..., 3:] // 255).astype(np.uint8)
    return _upright(pixels, frame.orientation, notes)


def _jpeg_frame(content: bytes) -> _JpegFrame:
    orientation, has_adobe_marker = 1, False
    for marker, start, end in _jpeg_segments(content):
        segment = content[start:end]
        if marker == 0xE1 and segment[:6] == b"Exif\0\0":
            orientation = _exif_orientation(segment)
        elif marker == 0xE1 and segment[:5] == b"http:" and orientation == 1:
            orientation = _xmp_orientation(segment)
        elif marker == 0xEE and segment[:5] == b"Adobe":
            has_adobe_marker = True
        # All frame headers; the others of these markers are tables.
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(segment) > 5:
            _, height, width, components = struct.unpack_from(">BHHB", segment)
            return _JpegFrame(width, height, components, orientation, has_adobe_marker)
    raise RejectedError("the image cannot be decoded: broken JPEG file (no frame header)")


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield marker, start and end of each segment of a JPEG up to the first scan."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in (0xD9, 0xDA):
            return
        (length,) = struct.unpack_from(">H", content, at + 2)
        yield marker, at + 4, at + 2 + length
        at += 2 + length


def _exif_orientation(segment: bytes) -> int:
    exif = Image.Exif()
    try:
        exif.load(segment)
        value = exif.get(_ORIENTATION_TAG, 1)
    except Exception:  # viewers ignore broken EXIF
        return 1
    return value if value in range(1, 9) else 1


def _xmp_orientation(xmp: bytes) -> int:
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[1]) if found else 1


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # viewers ignore broken EXIF
        return 1
    return value if value in range(1, 9) else 1


def _upright(pixels: Pixels, orientation: int, notes: list[str]) -> Pixels:
    if orientation != 1:
        notes.append(TURNED)
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    # Of the transposed picture for 5 to 8.
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _check_png(content: bytes) -> None:
    """Check the chunks of a PNG: the end is there, and each checksum fits."""
    at, kind = 8, b""
    while kind != b"IEND":
        if at + 12 > len(content):
            raise RejectedError("the image is truncated")
        (length,) = struct.unpack_from(">I", content, at)
        kind = content[at + 4 : at + 8]
        end = at + 8 + length
        if end + 4 > len(content):
            raise RejectedError("the image is truncated")
        (checksum,) = struct.unpack_from(">I", content, end)
        if zlib.crc32(memoryview(content)[at + 4 : end]) != checksum:
            name = kind.decode("ascii", "backslashreplace")
            reason = f"broken PNG file (wrong checksum of {name!r})"
            raise RejectedError(f"the image cannot be decoded: {reason}")
        at = end + 4


def _stated_bytes(content: bytes, kind: str) -> int:
    """Return the length of a WebP, AVIF or HEIC file by its headers; 0 for other formats."""
    if kind == "WEBP":
        (length,) = struct.unpack_from("<I", content, 4)
        return int(length) + 8
    if kind not in ("AVIF", "HEIF"):
        return 0
    at = 0
    # Boxes follow one another; a length of 0 is the rest of the file, and of 1 a longer one.
    while at + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        if length == 1 and at + 16 <= len(content):
            (length,) = struct.unpack_from(">Q", content, at + 8)
        if length < 8:
            break
        at += length
    return at


def _check_end(image: Image.Image, content: bytes, position: int) -> None:
    """Check the end of files that Pillow reads although their last bytes are missing."""
    is_whole = True
    if image.format == "GIF":
        is_whole = content[position - 1 : position] == b";"
    elif image.format == "BMP" and len(content) >= 34:
        pixels_start, header_bytes, width, height = struct.unpack_from("<IIii", content, 10)
        bits, compression = struct.unpack_from("<HI", content, 28)
        if header_bytes >= 40 and compression in (0, 3):
            row_bytes = (width * bits + 31) // 32 * 4
            is_whole = len(content) >= pixels_start + row_bytes * abs(height)
    if not is_whole:
        raise RejectedError("the image is truncated")


def check_frames(content: bytes, check_pixels: Callable[[Image.Image, int], None]) -> None:
    """Check that all frames of a GIF, or the end of a BMP, can be decoded.

    Args:
        content: A picture whose first frame can be decoded.
        check_pixels: Called with the image and the frame's number before a frame is decoded.

    Raises:
        ValueError: The file is truncated or broken; the message is the reason.
    """
    kind = format_of(content)
    if kind not in ("GIF", "BMP"):
        return
    stream = io.BytesIO(content)
    try:
        with Image.open(stream, formats=(kind,)) as image:
            for frame in range(getattr(image, "n_frames", 1)):
                check_pixels(image, frame)
                image.seek(frame)
                image.load()
            _check_end(image, content, stream.tell())
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise _fault(error) from None


def _is_deep(image: ImageFile.ImageFile) -> bool:
    raw_mode = _raw_mode(image)
    return image.mode.startswith("I") or raw_mode[-4:] in (";16B", ";16L", ";16N")


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Return the layout of the bytes that Pillow will decode; empty if it is not known."""
    arguments = image.tile[0].args if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments or "")


def _read_other(
    content: bytes,
    kind: str,
    image: ImageFile.ImageFile,
    background: Sequence[int],
    notes: list[str],
) -> Pixels:
    """Return the upright, opaque pixels of a picture that Pillow has opened."""
    is_deep = _is_deep(image)
    if image.mode == "F":
        reason = "its values are fractions of no stated range: convert it to 8 or 16 bits"
        raise RejectedError(f"the image cannot be decoded: {reason}")
    # Pillow turns a TIFF by itself when it decodes the pixels, and forgets the tag then.
    if kind == "TIFF" and _orientation(image) != 1:
        notes.append(TURNED)
    drawn: Image.Image = image
    if is_deep:
        notes.append(DEEP)
        drawn = _eight_bits(image, opened(content, kind))
    image.load()
    return _upright(_opaque(drawn, background, notes), _orientation(image), notes)


def _opaque(image: Image.Image, background: Sequence[int], notes: list[str]) -> Pixels:
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    drawn = image.convert("RGBA")
    alpha = drawn.getchannel("A")
    lowest, highest = alpha.getextrema()
    # Most programs that write 32-bit BMPs leave the fourth byte zero and mean an opaque picture.
    if lowest == 255 or (image.format == "BMP" and highest == 0):
        return np.asarray(drawn.convert("RGB"))
    notes.append(TRANSPARENT)
    canvas = Image.new("RGB", drawn.size, tuple(background))
    canvas.paste(drawn, mask=alpha)
    return np.asarray(canvas)


def _eight_bits(image: ImageFile.ImageFile, again: ImageFile.ImageFile) -> Image.Image:
    """Return a picture with values of more than 8 bits as one of 8 bits; see ``read``.

    ``again`` is the same picture, opened a second time.
    """
    transparent = image.info.get("transparency")
    values = _deep_values(image, again)
    count = values.shape[2]
    colours = values[..., : 1 if count < 3 else 3]
    largest = int(colours.max(initial=0))
    if largest >= 1 << DEPTHS[-1] or int(colours.min(initial=0)) < 0:
        reason = "its values are not from 0 to 65535: convert it to 8 or 16 bits"
        raise RejectedError(f"the image cannot be decoded: {reason}")
    depth = next(each for each in DEPTHS if largest < 1 << each)
    parts = [(colours >> (depth - 8)).astype(np.uint8)]
    if count in (2, 4):
        parts.append((values[..., -1:] >> 8).astype(np.uint8))
    elif transparent is not None:
        is_opaque = (colours != np.asarray(transparent)).any(axis=2, keepdims=True)
        parts.append(is_opaque.astype(np.uint8) * 255)
    joined = np.concatenate(parts, axis=2)
    return Image.fromarray(joined[..., 0] if joined.shape[2] == 1 else joined)


def _deep_values(image: ImageFile.ImageFile, again: ImageFile.ImageFile) -> NDArray[np.int32]:
    """Return all bits of a picture, int32 [height, width, 1 to 4]."""
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.int32)[..., None]
    raw_mode = _raw_mode(image)
    # Pillow keeps 8 bits of a value. Another raw mode of the same size reads the other byte.
    if raw_mode == "LA;16B":
        again.tile = [tile._replace(args="RGBA") for tile in again.tile]
        halves = np.asarray(again).astype(np.int32)
        return halves[..., ::2] << 8 | halves[..., 1::2]
    other = f"{raw_mode[:-3]}{_OTHER_BYTE[raw_mode[-3:]]}"
    again.tile = [
        tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
        for tile in again.tile
    ]
    values: NDArray[np.int32] = np.asarray(image).astype(np.int32) << 8 | np.asarray(again)
    return values


@lru_cache(maxsize=32)
def _bands(taken: int, wanted: int, channels: int) -> Bands:
    """Return the bands of the matrix that resizes one side from ``taken`` to ``wanted`` pixels.

    Each band has the first and last output, the first and last input, and the weights, [outputs,
    inputs]. With several channels, the weights are transposed, and repeat for each channel.
    """
    # As TensorFlow computes them, in float32.
    scale = np.float32(1) / (np.float32(wanted) / np.float32(taken))
    radius = max(scale, np.float32(1))
    centres = (np.arange(wanted, dtype=np.float32) + np.float32(0.5)) * scale
    first = np.ceil(centres - radius - np.float32(0.5)).astype(int).clip(0, taken - 1)
    last = np.floor(centres + radius - np.float32(0.5)).astype(int).clip(0, taken - 1)
    inputs = first[:, None] + np.arange((last - first).max() + 1)
    away = np.abs(inputs.astype(np.float32) + np.float32(0.5) - centres[:, None])
    weights = np.maximum(np.float32(1) - away * (np.float32(1) / radius), np.float32(0))
    weights[inputs > last[:, None]] = 0
    weights /= weights.sum(axis=1, keepdims=True, dtype=np.float32)
    bands = []
    for start in range(0, wanted, _BAND):
        stop = min(start + _BAND, wanted)
        low, high = int(first[start]), int(last[stop - 1]) + 1
        band = np.zeros((stop - start, high - low + inputs.shape[1]), np.float32)
        np.put_along_axis(band, inputs[start:stop] - low, weights[start:stop], axis=1)
        band = np.ascontiguousarray(band[:, : high - low])
        if channels > 1:
            band = np.kron(band.T, np.eye(channels, dtype=np.float32))
        n = channels
        bands.append((start * n, stop * n, low * n, high * n, band))
    return tuple(bands)


def _down(flat: NDArray[Any], bands: Bands) -> NDArray[np.float32]:
    """Return the product of the bands with rows of any number type, [outputs, columns]."""
    columns = flat.shape[1]
    resized_rows = np.empty((bands[-1][1], columns), np.float32)
    # One buffer for all bands: the system gives and takes back memory of this size page by page.
    buffer = np.empty((max(high - low for _, _, low, high, _ in bands), columns), np.float32)
    for start, stop, low, high, weights in bands:
        taken = buffer[: high - low]
        np.copyto(taken, flat[low:high])
        step = max(_PRODUCT // weights.size, 64)
        for left in range(0, columns, step):
            part = np.s_[:, left : left + step]
            np.matmul(weights, taken[part], out=resized_rows[start:stop][part])
    return resized_rows


def _across(flat: NDArray[np.float32], bands: Bands) -> NDArray[np.float32]:
    """Return the product of rows with the bands, [rows, outputs]."""
    rows = len(flat)
    resized_columns = np.empty((rows, bands[-1][1]), np.float32)
    for start, stop, low, high, weights in bands:
        step = max(_PRODUCT // weights.size, 1)
        for top in range(0, rows, step):
            taken = flat[top : top + step, low:high]
            resized_columns[top : top + step, start:stop] = taken @ weights
    return resized_columns
