"""Odd pictures from fixed seeds: the kinds of files that decoders treat differently."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image

SIZES = [(61, 47), (64, 64), (1, 37), (37, 1), (3, 2), (130, 97)]


def smooth(width: int = 61, height: int = 47, seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(levels).resize((width, height), Image.Resampling.BICUBIC)


def noisy(width: int = 61, height: int = 47, seed: int = 0) -> Image.Image:
    levels = np.asarray(smooth(width, height, seed)).astype(int)
    levels += np.random.default_rng(seed).integers(-12, 13, levels.shape)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def jpegs() -> Iterator[tuple[str, bytes]]:
    """JPEG files that a browser shows as they are stored."""
    for size in SIZES:
        for quality in (30, 75, 95):
            yield f"{size} {quality}", encoded(noisy(*size), "JPEG", quality=quality)
    for subsampling in ("444", "422", "420", "440", "411", "Gray"):
        content = simplejpeg.encode_jpeg(np.asarray(noisy()), 85, "RGB", subsampling)
        yield f"subsampling {subsampling}", content
    for seed in range(8):
        side = 40 + 31 * seed
        yield f"progressive {seed}", encoded(noisy(side, 90, seed), "JPEG", progressive=True)
        yield f"optimized {seed}", encoded(noisy(90, side, seed), "JPEG", optimize=True)
    for blocks in (1, 2, 7):
        yield f"restart {blocks}", encoded(noisy(), "JPEG", restart_marker_blocks=blocks)
    yield "restart rows", encoded(noisy(), "JPEG", restart_marker_rows=1)
    yield "grey", encoded(noisy().convert("L"), "JPEG")
    yield "grey progressive", encoded(noisy().convert("L"), "JPEG", progressive=True)
    yield "rgb", encoded(noisy(), "JPEG", keep_rgb=True)
    yield "comment", encoded(noisy(), "JPEG", comment=b"a comment")
    yield "bytes after the end", encoded(noisy(), "JPEG") + b"more"


def cmyk_jpegs() -> Iterator[tuple[str, bytes]]:
    """Ink files: Pillow writes Adobe's marker, and inverted inks with it."""
    inverted = encoded(noisy().convert("CMYK"), "JPEG")
    yield "adobe", inverted
    # The same inks, for readers without the marker: not inverted.
    plain = encoded(Image.eval(noisy().convert("CMYK"), lambda level: 255 - level), "JPEG")
    at = plain.index(b"\xff\xee")
    (length,) = struct.unpack_from(">H", plain, at + 2)
    yield "no marker", plain[:at] + plain[at + 2 + length :]


def turned(orientation: int, kind: str = "JPEG", **options) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(smooth(90, 70), kind, exif=exif, **options)


def png(levels: np.ndarray, colours: int, depth: int, more: bytes = b"", interlaced=False) -> bytes:
    """A PNG from packed rows, uint8 [height, bytes] if below 16 bits, else [height, width, n]."""
    height = len(levels)
    rows = levels.astype(">u2") if depth == 16 else levels
    width = levels.shape[1] if depth == 16 else levels.shape[1] * 8 // depth
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, interlaced)
    packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = chunk(b"IHDR", header) + more + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def others() -> Iterator[tuple[str, bytes]]:
    """Opaque files in other formats that TensorFlow decodes too."""
    random = np.random.default_rng(1)
    palette = chunk(b"PLTE", random.integers(0, 256, 768, dtype=np.uint8).tobytes())
    for size in SIZES:
        yield f"png {size}", encoded(noisy(*size), "PNG")
        yield f"grey png {size}", encoded(noisy(*size).convert("L"), "PNG")
    for depth in (1, 2, 4, 8):
        packed = random.integers(0, 256, (9, 8), dtype=np.uint8)
        yield f"grey png {depth} bit", png(packed, 0, depth)
        yield f"palette png {depth} bit", png(packed, 3, depth, palette)
    levels = random.integers(0, 65536, (9, 8, 3))
    yield "16-bit grey png", png(levels[..., :1], 0, 16)
    yield "16-bit png", png(levels, 2, 16)
    yield "opaque png with alpha", encoded(noisy().convert("RGBA"), "PNG")
    yield "opaque grey png with alpha", encoded(noisy().convert("LA"), "PNG")
    yield "gif", encoded(noisy(), "GIF")
    yield (
        "moving gif",
        encoded(noisy(), "GIF", save_all=True, append_images=[noisy(seed=1), noisy(seed=2)]),
    )
    yield "bmp", encoded(noisy(), "BMP")
    yield "grey bmp", encoded(noisy().convert("L"), "BMP")


def interlaced_png(image: Image.Image) -> bytes:
    """Adam7: seven passes of pixels, each packed as a picture of its own."""
    levels = np.asarray(image.convert("RGB"))
    packed = b""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2))
    for top, left, down, right in (*passes, (1, 0, 2, 1)):
        part = levels[top::down, left::right]
        if part.size:
            packed += b"".join(b"\0" + np.ascontiguousarray(row).tobytes() for row in part)
    header = struct.pack(">IIBBBBB", image.width, image.height, 8, 2, 0, 0, 1)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
