"""Requests that nobody means well with, the same ones for the same seed."""

import base64
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

Request = tuple[str, str, bytes, str]
"""Method, path, body and content type."""

JSON = "application/json"
TYPES = ("image/png", "image/jpeg", "image/gif", "image/bmp", "application/octet-stream")
ODD_TYPES = ("", "text/plain", "image/svg+xml", "multipart/form-data; boundary=x", "*/*", "é")
SHAPES = ("inputs", "instances", "dataframe_split", "dataframe_records", "input_data")
ODD_VALUES: tuple[Any, ...] = (
    None, True, -1, 1e308, float("nan"), "", "a", "AAAA", "\ud800", "\0", [], {}, [[]], [None],
    {"data": None}, {"data": [[]]}, {"data": [["AAAA", "AAAA"]]}, {"columns": []}, [["AAAA"]],
    [{"b64": 1}], [{"b64": "AAAA", "more": 1}], [[[["AAAA"]]]], ["AAAA"] * 33, {"": {"": ""}},
)  # fmt: skip


def hostile_requests(count: int, seed: int = 0) -> Iterator[Request]:
    """So many, of each kind in turn."""
    rng = random.Random(seed)  # noqa: S311 - the same for the same seed
    images = [_image(kind, rng) for kind in ("PNG", "JPEG", "GIF", "BMP") for _ in range(3)]
    kinds = (_cut, _flipped, _noise, _huge, _odd_json, _deep_json, _bad_utf8, _odd_type, _mixed)
    for number in range(count):
        yield kinds[number % len(kinds)](rng, images)


def _cut(rng: random.Random, images: list[bytes]) -> Request:
    image = rng.choice(images)
    return "POST", "/score", image[: rng.randrange(len(image))], rng.choice(TYPES)


def _flipped(rng: random.Random, images: list[bytes]) -> Request:
    image = bytearray(rng.choice(images))
    for _ in range(rng.choice((1, 2, 10))):
        image[rng.randrange(len(image))] ^= 1 << rng.randrange(8)
    return "POST", "/score", bytes(image), rng.choice(TYPES)


def _noise(rng: random.Random, images: list[bytes]) -> Request:
    start = rng.choice(images)[: rng.choice((0, 4, 8, 40))]
    return "POST", "/score", start + rng.randbytes(rng.randrange(2000)), rng.choice(TYPES)


def _huge(rng: random.Random, images: list[bytes]) -> Request:
    bomb = rng.choice((huge_png, huge_gif, huge_jpeg, huge_bmp))(rng)
    return "POST", "/score", bomb, rng.choice(TYPES)


def _odd_json(rng: random.Random, images: list[bytes]) -> Request:
    given = {rng.choice((*SHAPES, "other")): rng.choice(ODD_VALUES)}
    return "POST", "/score", json.dumps(given).encode(), JSON


def _deep_json(rng: random.Random, images: list[bytes]) -> Request:
    depth = rng.choice((10, 900, 1100, 100_000))
    opened, closed = rng.choice(((b"[", b"]"), (b'{"inputs":', b"}")))
    return "POST", "/score", opened * depth + b"1" + closed * rng.choice((depth, 0)), JSON


def _bad_utf8(rng: random.Random, images: list[bytes]) -> Request:
    bad = rng.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xe2\x82"))
    return "POST", "/score", b'{"inputs": ["' + bad + b'"]}', JSON


def _odd_type(rng: random.Random, images: list[bytes]) -> Request:
    method = rng.choice(("POST", "PUT", "DELETE", "GET"))
    path = rng.choice(("/score", "/score/", "/../etc/passwd", "/%00", "/model", "/score?a=%ff"))
    return method, path, rng.choice(images), rng.choice(ODD_TYPES).encode().decode("latin-1")


def _mixed(rng: random.Random, images: list[bytes]) -> Request:
    """Good items and a bad one, in a shape that is taken."""
    items = [base64.b64encode(rng.choice(images)).decode() for _ in range(rng.randrange(1, 5))]
    bad = base64.b64encode(_noise(rng, images)[2]).decode()
    items.insert(rng.randrange(len(items) + 1), rng.choice((bad, bad[:-1], "?")))
    return "POST", "/score", json.dumps({"inputs": items}).encode(), JSON


def huge_png(rng: random.Random) -> bytes:
    """A few bytes that say so many pixels, or a bomb that has them all."""
    width, height = rng.choice(((60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 0)))
    rows = b""
    if rng.random() < 0.2:
        width, height = 12_000, 12_000
        rows = b"\0" * (3 * width + 1) * 100
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 1)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def huge_gif(rng: random.Random) -> bytes:
    """Many large frames of one colour, or a small screen with a frame that is larger than it."""
    screen = rng.choice((1, 5000))
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 65_000, 65_000, 0) + b"\x02\x02\x4c\x01\x00"
    header = b"GIF89a" + struct.pack("<HHBBB", screen, screen, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return header + frame * rng.choice((1, 20)) + b";"


def huge_jpeg(rng: random.Random) -> bytes:
    """A JPEG whose header says more pixels than there are."""
    image = bytearray(_image("JPEG", rng))
    place = image.index(b"\xff\xc0") + 5
    image[place : place + 4] = struct.pack(">HH", *rng.choice(((65_500, 65_500), (9000, 9000))))
    return bytes(image)


def huge_bmp(rng: random.Random) -> bytes:
    """A BMP whose header says more pixels than there are, or a negative number."""
    image = bytearray(_image("BMP", rng))
    struct.pack_into(
        "<ii", image, 18, *rng.choice(((50_000, 50_000), (-(2**31), 1), (4, -(2**31))))
    )
    return bytes(image)


def _image(kind: str, rng: random.Random) -> bytes:
    pixels = np.random.default_rng(rng.randrange(2**32)).integers(0, 256, (24, 20, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()
