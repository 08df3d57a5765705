"""Faults of one item's content: whether an encoder's graph will be able to read it, and why not.

The judge of an image is what ``tf.io.decode_image`` refuses; where Pillow is more lenient than it
(cut PNG, GIF and BMP files, exotic BMP kinds), a check of its own stands beside Pillow's.
"""

import struct
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from tfhub_blocks.records.shards import SHARD_BYTES

IMAGE_FORMATS = ("JPEG", "PNG", "GIF", "BMP")
EXTENSIONS = {
    "image": frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp"}),
    "audio": frozenset({".wav", ".flac", ".mp3", ".ogg"}),
}
# One item never outgrows a shard, nor what a thread may hold in memory.
MAX_ITEM_BYTES = SHARD_BYTES

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

# The limit is ``max_pixels``, held below for each frame before it is decoded.
Image.MAX_IMAGE_PIXELS = None


def content_fault(content: bytes, modality: str, max_pixels: int) -> str | None:
    """Why a content cannot be an item of a modality, or None; text is valid UTF-8 already.

    It never raises for any bytes of the other modalities.
    """
    if not content:
        return "it is empty"
    if len(content) > MAX_ITEM_BYTES:
        return f"it has {len(content)} bytes, more than {MAX_ITEM_BYTES}"
    if modality == "image":
        return _image_fault(content, max_pixels)
    if modality == "audio" and not _is_audio(content):
        return "it is not WAV, FLAC, MP3 or OGG: convert it to one of them"
    if modality == "text" and content.decode().isspace():
        return "it is empty"
    return None


def _image_fault(content: bytes, max_pixels: int) -> str | None:
    foreign = _foreign_image(content)
    if foreign:
        return f"it is {foreign}, which encoders do not decode: convert it to JPEG or PNG"
    stream = BytesIO(content)
    try:
        with Image.open(stream, formats=IMAGE_FORMATS) as image:
            return _frames_fault(image, max_pixels) or _end_fault(image, content, stream.tell())
    except UnidentifiedImageError:
        return "it is not an image"
    except Exception as error:  # a decoder may raise anything on hostile bytes
        return f"it cannot be decoded as an image: {error or type(error).__name__}"


def _frames_fault(image: Image.Image, max_pixels: int) -> str | None:
    # Other formats than GIF are decoded by their first picture.
    pixels, frame = 0, 0
    while True:
        pixels += image.width * image.height
        if pixels > max_pixels:
            size = f"{image.width} x {image.height} pixels"
            frames = f" in each of {frame + 1} frames or more" if frame else ""
            return f"it has {size}{frames}, more than {max_pixels} pixels"
        # A JPEG at an eighth of its size still reads every coefficient, in half of the time.
        image.draft("RGB", (1, 1))
        image.load()
        if image.format != "GIF":
            return None
        frame += 1
        try:
            image.seek(frame)
        except EOFError:
            return None


def _end_fault(image: Image.Image, content: bytes, position: int) -> str | None:
    """Truncation by the last few bytes, and kinds of BMP, that Pillow reads and TensorFlow not."""
    is_whole = True
    if image.format == "PNG":
        is_whole = _PNG_END in content
        # Raises for a wrong checksum, which loading passes over; a loaded image cannot be asked.
        if is_whole:
            Image.open(BytesIO(content), formats=("PNG",)).verify()
    elif image.format == "GIF":
        is_whole = content[position - 1 : position] == b";"
    elif image.format == "BMP":
        pixels_start, _, width, height = struct.unpack_from("<IIii", content, 10)
        bits, compression = struct.unpack_from("<HI", content, 28)
        if bits not in (8, 24, 32) or compression or image.mode not in ("L", "RGB", "RGBA"):
            return "it is a BMP with a palette, bit masks or compression: convert it to PNG"
        row_bytes = (width * bits + 31) // 32 * 4
        is_whole = len(content) == pixels_start + row_bytes * abs(height)
    return None if is_whole else "it is truncated, or has more bytes than its header says"


def _foreign_image(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    if content[4:8] == b"ftyp":
        return _FTYP_IMAGES.get(content[8:12])
    return next(
        (name for start, name in _FOREIGN_IMAGES.items() if content.startswith(start)), None
    )


def _is_audio(content: bytes) -> bool:
    if content[:4] in (b"RIFF", b"RF64"):
        return content[8:12] == b"WAVE"
    if content[:4] in (b"fLaC", b"OggS") or content[:3] == b"ID3":
        return True
    # An MPEG frame: eleven set bits, then neither the reserved version nor the reserved layer.
    return (
        len(content) > 1
        and content[0] == 0xFF
        and content[1] >= 0xE0
        and content[1] & 0x18 != 0x08
        and content[1] & 0x06 != 0
    )
