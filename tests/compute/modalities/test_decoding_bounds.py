"""Headers that claim more pixels or samples than memory has."""

import io
import struct
import zlib

import numpy as np
import pytest
import soundfile

from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.modalities.waveforms import decode


def png(width: int, height: int, pixels: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_image_that_claims_too_many_pixels_is_refused_before_decoding() -> None:
    images = Images(size_px=(8, 8), range=(0.0, 1.0))

    with pytest.raises(ValueError, match="the image has 900,000,000 pixels, more than"):
        images.decode(png(30_000, 30_000))
    white = zlib.compress(8 * (b"\0" + 24 * b"\xff"))
    assert np.array_equal(images.decode(png(8, 8, white)), np.ones((8, 8, 3)))
    with pytest.raises(ValueError, match=r"^the file is not an image$"):
        images.decode(b"no image")


def test_sound_that_claims_too_many_samples_is_refused_before_decoding() -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(1000), 16000, format="FLAC")
    content = bytearray(file.getvalue())
    # The last 36 bits of the number of samples, in the block STREAMINFO.
    content[21] |= 0x0F
    content[22:26] = b"\xff" * 4

    with pytest.raises(ValueError, match="samples, more than 268,435,456"):
        decode(bytes(content), 16000)
