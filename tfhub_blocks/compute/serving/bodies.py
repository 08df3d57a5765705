"""Bodies of requests: from bytes and their type to the contents of items.

One item comes as it is, with the type of its file, or as text. Several come as JSON, in the shapes
that MLflow's scoring server and Azure ML's no-code deployments of MLflow models take.
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfhub_blocks.compute.serving.limits import ServingLimits
from tfhub_blocks.compute.serving.refusals import Refusal

if TYPE_CHECKING:
    from tfhub_blocks.compute.answering.answerers import Content

JSON_TYPE = "application/json"
ANY_FILE = "application/octet-stream"
# What a modality's files are sent as, besides as ANY_FILE.
FILE_TYPES = {
    "image": ("image/jpeg", "image/png", "image/gif", "image/bmp"),
    "audio": ("audio/wav", "audio/x-wav", "audio/flac", "audio/x-flac", "audio/mpeg", "audio/ogg"),
}
TEXT_TYPE = "text/plain"
# The key of the items, and how they stand below it.
SHAPES = ("inputs", "instances", "dataframe_split", "dataframe_records", "input_data")


def body_types(modality: str, is_text: bool) -> tuple[str, ...]:
    """The types of bodies that a model takes, JSON last."""
    files = (TEXT_TYPE,) if is_text else (*FILE_TYPES.get(modality, ()), ANY_FILE)
    return (*files, JSON_TYPE)


def read_body(
    body: bytes, content_type: str, modality: str, is_text: bool, limits: ServingLimits
) -> "list[Content]":
    """The contents of a request's items: one or more, bytes or texts.

    Raises:
        Refusal: The type is not one that the model takes, or the body is not of its type.
    """
    kind = content_type.partition(";")[0].strip().lower()
    taken = body_types(modality, is_text)
    if kind not in taken:
        raise Refusal(415, f"the content type is not one that this model takes: {', '.join(taken)}")
    if not body:
        raise Refusal(400, "the body is empty")
    if kind != JSON_TYPE:
        return [_text(body, limits) if is_text else body]
    values = _items(_parsed(body))
    if not values:
        raise Refusal(400, "there is no item in it: send one or more")
    if len(values) > limits.items:
        raise Refusal(413, f"a request has {limits.items} items at most: send several requests")
    return [_content(value, index, is_text, limits) for index, value in enumerate(values)]


def _text(body: bytes, limits: ServingLimits, item: int | None = None) -> str:
    if len(body) > limits.text_bytes:
        raise Refusal(413, f"a text has {limits.text_bytes} bytes at most", item)
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(400, f"it is not UTF-8, from byte {error.start} on", item) from error


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body.decode())
    except UnicodeDecodeError as error:
        raise Refusal(400, f"the JSON is not UTF-8, from byte {error.start} on") from error
    except json.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error.msg}, at {error.pos}") from error
    except RecursionError as error:
        raise Refusal(400, "the JSON is nested too deeply") from error
    except ValueError as error:  # a number with thousands of digits
        raise Refusal(400, "the JSON has a number that is too long") from error


def _items(given: Any) -> Sequence[Any]:
    """What stands for each item, in whichever of the shapes."""
    keys = [key for key in SHAPES if key in given] if isinstance(given, Mapping) else []
    if len(keys) != 1:
        raise Refusal(400, f"the JSON has to be an object with one of the keys {', '.join(SHAPES)}")
    value = given[keys[0]]
    if isinstance(value, Mapping):  # a table, or columns by name
        value = value.get("data") if "data" in value else _only(value)
    if not isinstance(value, list):
        raise Refusal(400, f"{keys[0]} has to be a list of items, or a table with a list as data")
    return [_only(row) for row in value]


def _only(row: Any) -> Any:
    """The one value of a row that is a list or an object, or the value itself."""
    if isinstance(row, list | Mapping):
        if len(row) != 1:
            raise Refusal(400, "a row has to have one value: the item's content")
        return next(iter(row.values() if isinstance(row, Mapping) else row))
    return row


def _content(value: Any, index: int, is_text: bool, limits: ServingLimits) -> "Content":
    if not isinstance(value, str):
        expected = "a text" if is_text else "a string, its file's bytes in base64"
        raise Refusal(400, f"an item has to be {expected}", index)
    try:
        if is_text:
            return _text(value.encode(), limits, index)
        return base64.b64decode(value, validate=True)
    except UnicodeEncodeError as error:
        raise Refusal(
            400, "it has half of a surrogate pair, which is no character", index
        ) from error
    except (binascii.Error, ValueError) as error:
        raise Refusal(400, "it is not base64", index) from error
