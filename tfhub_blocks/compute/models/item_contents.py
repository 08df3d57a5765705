"""Contents of items, from the values that callers pass: the bytes of files, or texts.

Models contain a copy of this file, so it imports nothing from tfhub_blocks.
"""

# decision 127

import base64
import binascii
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# The column of a table with several columns.
COLUMN = "contents"
TEXT_WANTED = "the item must be a text"
FILE_WANTED = "the item must be the bytes of its file, or these bytes in base64"
_DATA_URL = re.compile(r"data:[^,]*;base64,", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")


class ContentError(ValueError):
    """A value that is no content of an item: the reason, and its index among several items."""

    def __init__(self, reason: str, index: int | None = None) -> None:
        super().__init__(reason if index is None else f"item {index}: {reason}")
        self.reason, self.index = reason, index


def contents_of(given: Any, is_text: bool) -> list[bytes | str]:
    """Return the contents of the items in a table, a column, a list, an array or a single value.

    A table with several columns needs a column ``contents``.

    Args:
        given: The items.
        is_text: True if items are texts, False if they are files.

    Raises:
        ContentError: An item is no content, or it is unclear which column contains the items.
    """
    contents, values = [], list(_values(given))
    for index, value in enumerate(values):
        try:
            contents.append(content_of(value, is_text))
        except ContentError as error:
            raise ContentError(error.reason, index if len(values) > 1 else None) from error
    return contents


def content_of(value: Any, is_text: bool) -> bytes | str:
    """Return the content of one item.

    A file is passed as bytes, as a ``pathlib.Path``, or as base64 in a text: with or without line
    breaks and padding, in either alphabet, or as a data URL. A text is passed as a text or as its
    bytes in UTF-8.

    Raises:
        ContentError: The value is no content.
    """
    if isinstance(value, bytearray | memoryview):
        value = bytes(value)
    if is_text:
        return _text(value)
    if isinstance(value, str):
        return file_of_text(value)
    if isinstance(value, os.PathLike):
        try:
            return Path(value).read_bytes()
        except OSError as error:
            raise ContentError(f"{os.fspath(value)} cannot be read: {error.strerror}") from error
    if not isinstance(value, bytes):
        kind = type(value).__name__
        hint = ": pass a list of bytes, or the column of items alone" if kind == "int" else ""
        raise ContentError(f"{FILE_WANTED}, not {kind}{hint}")
    return value


def file_of_text(text: str) -> bytes:
    """Return the bytes of a file in base64.

    Raises:
        ContentError: The text is not base64.
    """
    found = _DATA_URL.match(text)
    digits = "".join((text[found.end() :] if found else text).split())
    digits = digits.translate(_URL_SAFE).rstrip("=")
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContentError("the item is not valid base64") from error


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise ContentError(f"the text is not UTF-8 at byte {error.start}") from error
    if not isinstance(value, str):
        raise ContentError(f"{TEXT_WANTED}, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = "the text has half of a surrogate pair, which is no character"
        raise ContentError(half) from error
    return value


def _values(given: Any) -> Iterable[Any]:
    if hasattr(given, "columns"):  # a table of pandas
        return _column(given, list(given.columns))
    if isinstance(given, Mapping):
        return _column(given, list(given))
    if isinstance(given, str | bytes | bytearray | memoryview | os.PathLike):
        return [given]
    if getattr(given, "ndim", 1) == 2:  # an array
        return [_only(list(row)) for row in given]
    return list(given)


def _column(given: Any, names: list[Any]) -> Iterable[Any]:
    if len(names) == 1:
        return list(given[names[0]])
    if COLUMN in names:
        return list(given[COLUMN])
    if not len(given):
        return []
    raise ContentError(
        f"the table has {len(names)} columns: name the one with the items {COLUMN}, or pass it"
        " alone"
    )


def _only(row: list[Any]) -> Any:
    if len(row) != 1:
        raise ContentError(f"each row must have one value, and a row has {len(row)}")
    return row[0]
