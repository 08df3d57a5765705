"""Fields of one place of a source, as people write them: label, split, text and path."""

import math
import posixpath
from collections.abc import Mapping
from typing import Any

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.snapshots import SPLITS

STEP_NAME = "snapshot_data"
# What people call the splits; compared in lower case.
SPLIT_NAMES: Mapping[str, str] = {name: name for name in SPLITS} | dict.fromkeys(
    ("val", "valid", "dev"), "validation"
)


def as_split(place: str, value: Any) -> str:
    """One of the splits.

    Raises:
        BlocksError: The value is none; it names the place.
    """
    split = SPLIT_NAMES.get(value.strip().lower()) if isinstance(value, str) else None
    if split is None:
        raise refusal(
            f"{place} has the split {value!r}",
            f"one of {', '.join(SPLITS)}",
            "correct it, or set respect_splits to false",
        )
    return split


def as_label(value: Any) -> tuple[str | None, str | None]:
    """A label as a string, or None and what is wrong with it."""
    # Pandas turns whole numbers into floats where one is missing.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None, "it has no label"
    if not isinstance(value, str | int):
        kind = type(value).__name__
        return None, f"its label is of type {kind}, not a string, a whole number or a boolean"
    label = str(value)
    if not label or label.isspace():
        return None, "its label is empty"
    if not _is_utf8(label):
        return None, "its label is not valid UTF-8"
    return label, None


def as_text(value: Any) -> tuple[bytes, str | None]:
    """A text in UTF-8, or nothing and what is wrong with it."""
    if value is None:
        return b"", "its text is null"
    if not isinstance(value, str):
        return b"", f"its text is of type {type(value).__name__}, not a string"
    try:
        return value.encode(), None
    except UnicodeEncodeError:
        return b"", "its text is not valid UTF-8"


def as_path(place: str, value: Any) -> tuple[str, str | None]:
    """A path that stays inside the table's folder; or the row instead, and what is wrong.

    Raises:
        BlocksError: It leaves the table's folder.
    """
    if not isinstance(value, str) or not value:
        return place, "it has no path"
    path = posixpath.normpath(value)
    if path == ".." or path.startswith(("/", "../")):
        raise refusal(
            f"{place} has the path {value!r}, which leaves the table's folder",
            "paths relative to the table's folder, and inside it",
            "put the files beside the table and name them from there",
        )
    if "\0" in path or not _is_utf8(path):
        return place, f"its path {printable(value)!r} is not valid"
    return path, None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(text: str) -> str:
    """A text with what is not valid UTF-8 in it escaped, so that any file can hold it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def quoted(names: set[str]) -> str:
    """Names in quotes, sorted, in one line."""
    return ", ".join(repr(name) for name in sorted(names))


def refusal(problem: str, expected: str, remedy: str) -> BlocksError:
    """The error for a source that is refused as a whole."""
    return BlocksError(STEP_NAME, "source", problem, expected, remedy)
