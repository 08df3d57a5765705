"""Bodies of requests: conversion of bytes and their content type to the contents of items.

A single item is sent as its file, with the type of the file, or as text. Several items are sent as
JSON, in the shapes of MLflow's scoring server and of Azure ML's no-code deployments of MLflow
models.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfhub_blocks.compute.models.item_contents import (
    FILE_WANTED,
    TEXT_WANTED,
    ContentError,
    content_of,
)
from tfhub_blocks.compute.serving.limits import ServingLimits
from tfhub_blocks.compute.serving.refusals import Refusal

if TYPE_CHECKING:
    from tfhub_blocks.compute.answering.answerers import Content

JSON_TYPE = "application/json"
ANY_FILE = "application/octet-stream"
# The content types of a modality's files, in addition to ANY_FILE.
FILE_TYPES = {
    "image": (
        "image/jpeg",
        "image/png",
        "image/gif",
        "image/bmp",
        "image/webp",
        "image/avif",
        "image/heic",
        "image/heif",
        "image/tiff",
    ),
    "audio": (
        "audio/wav",
        "audio/x-wav",
        "audio/flac",
        "audio/x-flac",
        "audio/mpeg",
        "audio/ogg",
        "audio/aiff",
        "audio/x-aiff",
        "audio/basic",
        "audio/x-caf",
        "audio/x-w64",
    ),
}
TEXT_TYPE = "text/plain"
# The keys of JSON bodies; each has its own shape for the items below.
SHAPES = ("inputs", "instances", "dataframe_split", "dataframe_records", "input_data")


def body_types(modality: str, is_text: bool) -> tuple[str, ...]:
    """Return the content types that a model accepts, JSON last."""
    files = (TEXT_TYPE,) if is_text else (*FILE_TYPES.get(modality, ()), ANY_FILE)
    return (*files, JSON_TYPE)


def read_body(
    body: bytes, content_type: str, modality: str, is_text: bool, limits: ServingLimits
) -> "list[Content]":
    """Return the contents of a request's items: one or more, bytes or texts.

    Raises:
        Refusal: The model does not accept the type, or the body does not match its type.
    """
    kind = content_type.partition(";")[0].strip().lower()
    accepted = body_types(modality, is_text)
    if kind not in accepted:
        raise Refusal(415, f"the content type must be one of {', '.join(accepted)}")
    if kind != JSON_TYPE:
        return [_text(body, limits) if is_text else body]
    if not body:
        raise Refusal(400, "the body is empty")
    values = _items(_parsed(body))
    if not values:
        raise Refusal(400, "the request has no items: send one or more")
    if len(values) > limits.items:
        sentence = f"the request has more than {limits.items} items: send several requests"
        raise Refusal(413, sentence)
    return [_content(value, index, is_text, limits) for index, value in enumerate(values)]


def _text(body: bytes, limits: ServingLimits, item: int | None = None) -> str:
    if len(body) > limits.text_bytes:
        raise Refusal(413, f"the text is longer than {limits.text_bytes} bytes", item)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the text is not UTF-8 at byte {error.start}", item) from error


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode())
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the JSON is not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error.msg}, at {error.pos}") from error
    except RecursionError as error:
        raise Refusal(400, "the JSON is nested too deeply") from error
    except ValueError as error:  # a number with thousands of digits
        raise Refusal(400, "the JSON has a number that is too long") from error


def _items(given: Any) -> Sequence[Any]:
    """Return the value of each item, for all shapes."""
    keys = [key for key in SHAPES if key in given] if isinstance(given, Mapping) else []
    if len(keys) != 1:
        raise Refusal(400, f"the JSON must be an object with one of the keys {', '.join(SHAPES)}")
    value = given[keys[0]]
    if isinstance(value, Mapping):  # a table, or columns by name
        value = value.get("data") if "data" in value else _only(value)
    if not isinstance(value, list):
        raise Refusal(400, f"{keys[0]} must be a list of items, or a table with a list as data")
    return [_only(row) for row in value]


def _only(row: Any) -> Any:
    """Return the only value of a row that is a list or an object, or the value itself."""
    if isinstance(row, list | Mapping):
        if len(row) != 1:
            raise Refusal(400, "each row must have exactly one value: the item's content")
        return next(iter(row.values() if isinstance(row, Mapping) else row))
    return row


def _content(value: Any, index: int, is_text: bool, limits: ServingLimits) -> "Content":
    if not isinstance(value, str):
        raise Refusal(400, TEXT_WANTED if is_text else FILE_WANTED, index)
    try:
        content = content_of(value, is_text)
    except ContentError as error:
        raise Refusal(400, error.reason, index) from error
    return _text(value.encode(), limits, index) if is_text else content
