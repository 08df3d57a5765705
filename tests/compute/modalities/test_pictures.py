"""Pictures are decoded as TensorFlow does where it can, and as a person sees them elsewhere."""

import base64
import io
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from odd_pictures import (
    chunk,
    cmyk_jpegs,
    encoded,
    interlaced_png,
    jpegs,
    noisy,
    others,
    png,
    smooth,
    turned,
)
from PIL import Image, ImageOps, features

from tfhub_blocks.compute.modalities import pictures
from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.compute.tf.tensorflow_setup import tf

LIMITS = Limits(max_pixels=1_000_000, max_seconds=1)
JPEGS, CMYK, OTHERS = dict(jpegs()), dict(cmyk_jpegs()), dict(others())
# 64 x 48: the left half red, the right half green above blue. libheif 1.23 with x265 wrote it.
HEIC = base64.b64decode(
    """
    AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAA
    AAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAAJgAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABo
    dmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEA
    GEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAA
    AwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAAEAAAAAB
    AAAAMAAAAAEAAAAAAAAAAv////AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAKBt
    ZGF0AAAAlCgBrwngPfMi///zm9P//BrOy/tfGh/jKo1bu40v5/H/94R04VAOei77Qz1L38/xTyxlYC/3KrjvWG+O3YLe
    3QCR6kOifWtB2fP6HXowwL0FldmFc+Uk4YQJ9f6mb+22p1U85+cNS3iMzgKGW8lfKUwneIEEz4k2XZQbg4OgHZYyDwfU
    HqUcjFpJ2op0E4zvA+SJa2A=
    """
)


def by_tensorflow(content: bytes) -> np.ndarray:
    return tf.io.decode_image(content, channels=3, expand_animations=False).numpy()


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_equals_tensorflow_to_the_bit(name: str) -> None:
    np.testing.assert_array_equal(pictures.read(JPEGS[name]), by_tensorflow(JPEGS[name]))


@pytest.mark.parametrize("name", CMYK)
def test_inks_equal_tensorflow_to_the_bit_with_and_without_adobes_marker(name: str) -> None:
    np.testing.assert_array_equal(pictures.read(CMYK[name]), by_tensorflow(CMYK[name]))
    like = np.asarray(noisy()).astype(int)
    assert np.abs(pictures.read(CMYK[name]) - like).mean() < 12


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_equal_tensorflow_to_the_bit(name: str) -> None:
    np.testing.assert_array_equal(pictures.read(OTHERS[name]), by_tensorflow(OTHERS[name]))


def test_interlaced_png_equals_tensorflow_to_the_bit() -> None:
    content = interlaced_png(noisy())
    np.testing.assert_array_equal(pictures.read(content), by_tensorflow(content))
    np.testing.assert_array_equal(pictures.read(content), np.asarray(noisy()))


@pytest.mark.parametrize("kind", ["baseline", "progressive", "grey", "odd"])
@pytest.mark.parametrize("fraction", [2, 4, 8])
def test_jpeg_at_a_fraction_equals_tensorflow_to_the_bit(kind: str, fraction: int) -> None:
    image = noisy(517, 390) if kind == "odd" else noisy(512, 384)
    image = image.convert("L") if kind == "grey" else image
    content = encoded(image, "JPEG", progressive=kind == "progressive")
    least = (-(-image.height // fraction), -(-image.width // fraction))

    given = pictures.read(content, least_px=least)

    expected = tf.io.decode_jpeg(content, channels=3, ratio=fraction).numpy()
    np.testing.assert_array_equal(given, expected)
    one_more = (least[0] + 1, least[1])
    assert pictures.read(content, least_px=one_more).shape[0] > least[0]


@pytest.mark.parametrize(
    ("shape", "size_px"),
    [
        ((375, 500), (224, 224)),
        ((47, 61), (224, 160)),
        ((1, 37), (32, 32)),
        ((37, 1), (32, 32)),
        ((1, 1), (5, 7)),
        ((224, 100), (224, 224)),
        ((100, 224), (224, 224)),
        ((1000, 1333), (224, 224)),
        ((1333, 90), (7, 300)),
        ((2, 3), (1, 1)),
    ],
    ids=str,
)
def test_resize_equals_tensorflow(shape, size_px) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)

    given = pictures.resized(pixels, *size_px)

    expected = tf.image.resize(pixels, size_px, antialias=True).numpy()
    assert given.dtype == np.float32
    assert given.shape == (*size_px, 3)
    assert np.abs(given - expected).max() < 7e-6 * 255


def test_equal_size_is_left_as_it_is() -> None:
    pixels = np.asarray(noisy(64, 48))
    np.testing.assert_array_equal(pictures.resized(pixels, 48, 64), pixels.astype(np.float32))


def test_resize_gives_the_same_bits_in_any_thread_and_order() -> None:
    images = [np.asarray(noisy(40 + 7 * seed, 50, seed)) for seed in range(40)]
    alone = [pictures.resized(each, 33, 29) for each in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: pictures.resized(each, 33, 29), images[::-1]))[::-1]
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation: int, kind: str) -> None:
    content = turned(orientation, kind, **({"lossless": True} if kind == "WEBP" else {}))
    notes: list[str] = []

    given = pictures.read(content, notes=notes)

    with Image.open(io.BytesIO(content)) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    assert given.shape == np.asarray(upright).shape
    limit = 20 if kind == "JPEG" else 0
    assert np.abs(given - np.asarray(upright).astype(int)).max() <= limit
    assert notes == ([pictures.TURNED] if orientation > 1 else [])


def test_a_turned_jpeg_is_reduced_by_its_sides_after_turning() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(smooth(640, 320), "JPEG", exif=exif)
    assert pictures.read(content, least_px=(320, 160)).shape == (320, 160, 3)
    assert pictures.read(content, least_px=(160, 320)).shape == (640, 320, 3)


def test_orientation_in_xmp_is_applied_and_broken_exif_is_ignored() -> None:
    plain = encoded(smooth(90, 70), "JPEG")

    def with_segment(segment: bytes) -> bytes:
        return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]

    xmp = b'http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation="6"/>'
    np.testing.assert_array_equal(
        pictures.read(with_segment(xmp)), np.rot90(pictures.read(plain), -1)
    )
    for broken in (b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x63"):
        np.testing.assert_array_equal(pictures.read(with_segment(broken)), pictures.read(plain))


def drawing(kind: str, **options) -> bytes:
    """Black strokes on a transparent canvas whose hidden colour is black."""
    levels = np.zeros((20, 30, 4), np.uint8)
    levels[5:15, 10:20, 3] = 255
    image = Image.fromarray(levels)
    if kind == "GIF":
        image = image.convert("LA").convert("RGBA")
    return encoded(image, kind, **options)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {"lossless": True, "exact": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("background", [(255, 255, 255), (9, 100, 200)], ids=str)
def test_transparency_is_put_on_the_background(kind, options, background) -> None:
    notes: list[str] = []
    given = pictures.read(drawing(kind, **options), background, notes=notes)

    expected = np.full((20, 30, 3), background, np.uint8)
    expected[5:15, 10:20] = 0
    np.testing.assert_array_equal(given, expected)
    assert notes == [pictures.TRANSPARENT]


def test_half_transparent_pixels_are_mixed_in_every_layout() -> None:
    grey = np.full((4, 4), 100, np.uint8)
    alpha = np.full((4, 4), 51, np.uint8)
    for image in (Image.fromarray(np.dstack([grey, alpha])),):
        assert set(pictures.read(encoded(image, "PNG")).ravel()) == {224}
    palette = chunk(b"PLTE", bytes([100, 100, 100, 0, 0, 0])) + chunk(b"tRNS", bytes([51]))
    packed = np.zeros((3, 2), np.uint8)
    assert set(pictures.read(png(packed, 3, 8, palette)).ravel()) == {224}
    # One transparent grey level, and one transparent colour, in 8 and in 16 bits.
    levels = np.zeros((3, 2), np.uint8)
    assert set(pictures.read(png(levels, 0, 8, chunk(b"tRNS", b"\0\0"))).ravel()) == {255}
    deep = np.full((3, 2, 3), 40_000)
    hidden = chunk(b"tRNS", struct.pack(">HHH", 40_000, 40_000, 40_000))
    assert set(pictures.read(png(deep, 2, 16, hidden)).ravel()) == {255}
    hidden = chunk(b"tRNS", struct.pack(">H", 40_000))
    assert set(pictures.read(png(deep[..., :1], 0, 16, hidden)).ravel()) == {255}


@pytest.mark.parametrize("colours", [0, 2, 4, 6])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_more_than_8_bits_are_scaled_by_the_picture_alone(bits: int, colours: int) -> None:
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colours]
    levels = np.random.default_rng(bits).integers(0, 1 << bits, (12, 10, channels))
    levels[0, 0] = (1 << bits) - 1
    if channels in (2, 4):
        levels[..., -1] = 65535
    notes: list[str] = []

    given = pictures.read(png(levels, colours, 16), notes=notes)

    expected = levels[..., : max(channels - 1 + channels % 2, 1)] >> bits - 8
    np.testing.assert_array_equal(given, np.broadcast_to(expected, (12, 10, 3)))
    assert notes == [pictures.DEEP]


def test_16_bit_transparency_and_16_bit_tiff() -> None:
    levels = np.full((4, 5, 2), 65535)
    levels[..., 0], levels[:, :2, 1] = 0, 0
    given = pictures.read(png(levels, 4, 16))
    assert given[:, :2].min() == 255
    assert given[:, 2:].max() == 0
    grey = np.random.default_rng(0).integers(0, 4096, (7, 9), dtype=np.uint16)
    grey[0, 0] = 4095
    given = pictures.read(encoded(Image.fromarray(grey), "TIFF"))
    np.testing.assert_array_equal(given[..., 0], grey >> 4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_colour_tiff(order: str) -> None:
    levels = np.random.default_rng(0).integers(0, 1024, (6, 5, 3))
    levels[0, 0, 0] = 1023
    given = pictures.read(colour_tiff(levels, order))
    np.testing.assert_array_equal(given, levels >> 2)


def colour_tiff(levels: np.ndarray, order: str) -> bytes:
    height, width, _ = levels.shape
    strip = levels.astype(f"{order}u2").tobytes()
    tags = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 3, 8), (259, 3, 1, 1), (262, 3, 1, 2)]
    tags += [(273, 4, 1, 14), (277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, len(strip))]
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 14 + len(strip))
    entries = b"".join(
        struct.pack(f"{order}HHI", tag, kind, count)
        + (
            struct.pack(f"{order}I", value)
            if kind == 4 or count > 1
            else struct.pack(f"{order}HH", value, 0)
        )
        for tag, kind, count, value in tags
    )
    directory = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", 0)
    return head + struct.pack(f"{order}HHH", 16, 16, 16) + strip + directory


@pytest.mark.parametrize(
    "content",
    [
        encoded(smooth(), "WEBP", lossless=True),
        encoded(smooth().convert("RGBA"), "WEBP", lossless=True),
        encoded(smooth(), "TIFF"),
        encoded(smooth(), "TIFF", compression="tiff_deflate"),
        encoded(smooth(), "BMP"),
        encoded(smooth().convert("RGBA"), "BMP"),
        encoded(smooth(), "WEBP", lossless=True, save_all=True, append_images=[noisy(seed=9)]),
        encoded(smooth(), "PNG", save_all=True, append_images=[noisy(seed=9)]),
        encoded(smooth(), "TIFF", save_all=True, append_images=[noisy(seed=9)]),
    ],
    ids=[
        "webp",
        "webp with alpha",
        "tiff",
        "deflated tiff",
        "bmp",
        "bmp with alpha",
        "moving webp",
        "moving png",
        "tiff with pages",
    ],
)
def test_lossless_formats_give_their_first_picture(content: bytes) -> None:
    np.testing.assert_array_equal(pictures.read(content), np.asarray(smooth()))
    assert Images.content_fault(content, LIMITS) is None


@pytest.mark.parametrize("mode", ["1", "L", "P"])
@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PNG"])
def test_grey_bilevel_and_palette_are_decoded(mode: str, kind: str) -> None:
    image = smooth().convert(mode)
    given = pictures.read(encoded(image, kind))
    np.testing.assert_array_equal(given, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["WEBP", "AVIF"])
def test_lossy_formats_look_like_the_picture(kind: str) -> None:
    given = pictures.read(encoded(smooth(), kind, quality=90))
    assert np.abs(given - np.asarray(smooth()).astype(int)).mean() < 6


def test_heic_is_decoded() -> None:
    given = pictures.read(HEIC)
    assert given.shape == (48, 64, 3)
    assert Images.content_fault(HEIC, LIMITS) is None
    for part, channel in ((given[:, 4:28], 0), (given[4:20, 36:], 1), (given[28:, 36:], 2)):
        assert part[..., channel].min() > 180
        assert np.delete(part, channel, axis=2).max() < 60


def test_pillow_has_the_formats_that_are_promised() -> None:
    assert features.check("webp")
    assert features.check("avif")


def test_bmp_of_16_bits_and_one_that_leaves_alpha_zero() -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 16, 0, 16, 0, 0, 0, 0)
    start = 14 + len(header)
    pixels = struct.pack("<8H", *[0x7C00] * 4, *[0x001F] * 4)
    content = b"BM" + struct.pack("<IHHI", start + 16, 0, 0, start) + header + pixels
    assert pictures.read(content)[:, 0].tolist() == [[0, 0, 255], [255, 0, 0]]
    bare = Image.fromarray(np.dstack([np.asarray(smooth()), np.zeros((47, 61), np.uint8)]))
    content = encoded(bare, "BMP")
    np.testing.assert_array_equal(pictures.read(content), np.asarray(smooth()))


GOOD = {
    "jpeg": JPEGS["subsampling 420"],
    "progressive": JPEGS["progressive 1"],
    "cmyk": CMYK["adobe"],
    "png": OTHERS["png (61, 47)"],
    "gif": OTHERS["gif"],
    "bmp": OTHERS["bmp"],
    "webp": encoded(noisy(), "WEBP"),
    "avif": encoded(noisy(), "AVIF"),
    "tiff": encoded(noisy(), "TIFF"),
    "heic": HEIC,
}


@pytest.mark.parametrize("name", GOOD)
def test_half_of_a_file_is_rejected_in_one_line(name: str) -> None:
    for share in (0.9, 0.5, 0.1):
        with pytest.raises(ValueError, match=r"image") as caught:
            pictures.decode(GOOD[name][: int(share * len(GOOD[name]))], (8, 8), (0, 1))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", GOOD)
def test_damaged_bytes_raise_nothing_but_a_reason(name: str) -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(GOOD[name])
        for at in random.integers(0, min(len(damaged), 400), 3):
            damaged[at] = random.integers(256)
        fault = Images.content_fault(bytes(damaged), LIMITS)
        assert fault is None or "\n" not in fault
        if fault is None:
            pictures.decode(bytes(damaged), (8, 8), (0, 1))


def test_a_stray_byte_in_a_jpeg_is_tolerated() -> None:
    content = JPEGS["subsampling 444"]
    stray = content[:-2] + b"\x00" + content[-2:]
    np.testing.assert_array_equal(pictures.read(stray), pictures.read(content))


def test_values_without_a_stated_range_are_rejected() -> None:
    fractions = Image.fromarray(np.random.default_rng(0).random((4, 4), np.float32))
    assert "fractions" in str(Images.content_fault(encoded(fractions, "TIFF"), LIMITS))
    large = Image.fromarray(np.full((4, 4), 70_000, np.int32))
    assert "from 0 to 65535" in str(Images.content_fault(encoded(large, "TIFF"), LIMITS))


def test_size_is_checked_before_pixels_are_decoded() -> None:
    class TooLargeError(pictures.RejectedError):
        pass

    def check(width: int, height: int) -> None:
        seen.append((width, height))
        raise TooLargeError("the image is too large")

    seen: list[tuple[int, int]] = []
    for content in GOOD.values():
        with pytest.raises(ValueError, match="the image is too large"):
            pictures.read(content[:-4] if content[:2] == b"\xff\xd8" else content, check_size=check)
        assert seen.pop() == pictures.size_of(content)


def test_the_program_imports_neither_tensorflow_nor_tfhub_blocks() -> None:
    script = (
        "import runpy, sys; scope = runpy.run_path(sys.argv[1]); "
        "image = scope['decode'](sys.stdin.buffer.read(), [8, 9], [0, 1]); "
        "assert image.shape == (8, 9, 3); "
        "print([name for name in sys.modules if name in ('tensorflow', 'tfhub_blocks')])"
    )
    command = [sys.executable, "-c", script, pictures.__file__]
    run = subprocess.run(command, input=GOOD["png"], capture_output=True, check=True)
    assert run.stdout == b"[]\n"


def test_images_are_prepared_in_the_range_on_the_background() -> None:
    images = Images((20, 30), (-1.0, 1.0), background=(0, 255, 0))
    (image,) = images.prepare([drawing("PNG")])
    assert image.dtype == np.float32
    assert image[0, 0].tolist() == [-1, 1, -1]
    assert image[10, 15].tolist() == [-1, -1, -1]
    seen = Image.open(io.BytesIO(images.seen(drawing("PNG")).media))
    assert (seen.size, seen.getpixel((0, 0)), seen.getpixel((15, 10))) == (
        (30, 20),
        (0, 255, 0),
        (0, 0, 0),
    )
