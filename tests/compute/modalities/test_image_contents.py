import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tfhub_blocks.compute.modalities import pictures
from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.modalities.modality import Limits

LIMITS = Limits(max_pixels=1_000_000, max_seconds=1)


def picture(mode: str = "RGB", size: tuple[int, int] = (50, 40), seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(*frames: Image.Image, format: str, **options) -> bytes:
    stream = BytesIO()
    more = {"save_all": True, "append_images": frames[1:]} if len(frames) > 1 else {}
    frames[0].save(stream, format, **more, **options)
    return stream.getvalue()


def gif_with_a_huge_frame() -> bytes:
    # The screen is 1 x 1; the one frame claims 60000 x 60000.
    frame = b"," + struct.pack("<HHHH", 0, 0, 60000, 60000) + b"\0\2\2L\1\0;"
    return b"GIF89a" + struct.pack("<HH", 1, 1) + b"\x80\0\0\0\0\0\xff\xff\xff" + frame


FRAMES = [picture(seed=seed) for seed in range(3)]
IMAGES = {
    "jpeg": encoded(picture(), format="JPEG"),
    "grey jpeg": encoded(picture("L"), format="JPEG"),
    "cmyk jpeg": encoded(picture("CMYK"), format="JPEG"),
    "progressive jpeg": encoded(picture(), format="JPEG", progressive=True),
    "png": encoded(picture(), format="PNG"),
    "png with a palette": encoded(picture("P"), format="PNG"),
    "png with alpha": encoded(picture("RGBA"), format="PNG"),
    "bilevel png": encoded(picture("1"), format="PNG"),
    "moving png": encoded(*FRAMES, format="PNG"),
    "gif": encoded(picture("P"), format="GIF"),
    "moving gif": encoded(*FRAMES, format="GIF"),
    "bmp": encoded(picture(), format="BMP"),
    "grey bmp": encoded(picture("L"), format="BMP"),
    "bmp with alpha": encoded(picture("RGBA"), format="BMP"),
    "bilevel bmp": encoded(picture("1"), format="BMP"),
    "bmp with a palette": encoded(picture("P"), format="BMP"),
    "webp": encoded(picture(), format="WEBP"),
    "tiff": encoded(picture(), format="TIFF"),
    "avif": encoded(picture(), format="AVIF"),
    "two pictures in a jpeg": encoded(*FRAMES[:2], format="MPO"),
}


@pytest.mark.parametrize("name", IMAGES)
def test_image_that_encoders_decode_is_accepted(name):
    assert Images.content_fault(IMAGES[name], LIMITS) is None


@pytest.mark.parametrize("name", IMAGES.keys() - {"two pictures in a jpeg", "moving png"})
@pytest.mark.parametrize("missing_bytes", [1, 2, 3, 5, 11, 12, 13, 200])
def test_truncated_image_is_rejected(name, missing_bytes):
    fault = Images.content_fault(IMAGES[name][:-missing_bytes], LIMITS)
    assert fault is not None
    assert "truncated" in fault or "broken" in fault, fault


def test_whatever_length_is_accepted_is_decoded():
    tail = np.random.default_rng(1).bytes(20)
    accepted = 0
    for content in IMAGES.values():
        for end in range(len(content) - 40, len(content) + 20):
            changed = (content + tail)[:end]
            if Images.content_fault(changed, LIMITS) is None:
                pictures.read(changed)
                accepted += 1
    assert accepted > 200


def test_png_with_a_wrong_checksum_is_rejected():
    content = bytearray(IMAGES["png"])
    content[-13] ^= 1  # of the checksum of the pixels
    fault = Images.content_fault(bytes(content), LIMITS)
    assert fault is not None
    assert fault.startswith("the image cannot be decoded: broken PNG file")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"hello", "the file is not an image"),
        (b"\0" * 1000, "the file is not an image"),
        (
            b"%PDF-1.7",
            "the file is PDF, which encoders do not decode: convert it to JPEG or PNG",
        ),
        (
            b"\0\0\0\x0cjP  \r\n\x87\n",
            "the file is JPEG 2000, which encoders do not decode: convert it to JPEG or PNG",
        ),
        (
            encoded(Image.new("1", (30_000, 30_000)), format="PNG"),
            "the image has 30000 x 30000 pixels, more than 1000000 pixels",
        ),
        (gif_with_a_huge_frame(), "the image has 60000 x 60000 pixels, more than 1000000 pixels"),
        (
            encoded(*(picture(size=(700, 700), seed=seed) for seed in range(3)), format="GIF"),
            "the image has 700 x 700 pixels in each of 3 frames or more, more than 1000000 pixels",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_unusable_image_is_rejected_with_its_reason(content, fault):
    assert Images.content_fault(content, LIMITS) == fault
