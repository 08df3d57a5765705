"""Fields of one place of a source, as users write them: label, split, text and path."""

# decision 70

import math
import posixpath
import re
from typing import Any

from tfhub_blocks.compute.data.split_names import split_of
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.foreign_text import is_utf_8
from tfhub_blocks.records.base.redaction import has_secret, redacted
from tfhub_blocks.records.formats.snapshots import SPLITS

STEP_NAME = "snapshot_data"
# Reasons that stand for more than one row; findings count them.
A_FLOAT = "the label is of type float, not a string, a whole number or a boolean"
A_LIST = "the label is a list, but an item has one label"
AN_ADDRESS = "not a file: download the files, and write their paths"
BACKSLASHES = "the path has backslashes, and there is no such file: write / between folders"
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://|(data):|//[\w.-]+\.[a-z]+/|www\.")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def as_split(place: str, value: Any) -> str:
    """Return the split that a value names.

    Raises:
        BlocksError: The value names no split. The message contains the place.
    """
    split = split_of(value) if isinstance(value, str) else None
    if split is None:
        raise refusal(
            f"{place} has the split {value!r}",
            f"one of {', '.join(SPLITS)}",
            "Correct this row, or set respect_splits to false",
        )
    return split


def as_label(value: Any) -> tuple[str | None, str | None]:
    """Return a label as a string, or None and the fault."""
    # Pandas turns whole numbers into floats where one is missing.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None, "the item has no label"
    if isinstance(value, list | tuple | dict):
        return None, A_LIST
    if not isinstance(value, str | int):
        return None, A_FLOAT.replace("float", type(value).__name__)
    label = str(value)
    if not label or label.isspace():
        return None, "the label is empty"
    if not is_utf_8(label):
        return None, "the label is not valid UTF-8"
    if has_secret(label):
        return None, "the label contains a credential"
    return label, None


def as_text(value: Any) -> tuple[bytes, str | None]:
    """Return a text in UTF-8, or no bytes and the fault."""
    if value is None:
        return b"", "the text is null"
    if not isinstance(value, str):
        return b"", f"the text is of type {type(value).__name__}, not a string"
    try:
        return value.encode(), None
    except UnicodeEncodeError:
        return b"", "the text is not valid UTF-8"


def as_path(place: str, value: Any) -> tuple[str, str | None]:
    """Return a path inside the table's folder; or the row in its place, and the fault.

    A path that contains a credential, such as an address with a signature, is a fault, and is
    returned without the credential: records keep each path.

    Raises:
        BlocksError: The path leaves the table's folder.
    """
    if not isinstance(value, str) or not value:
        return place, "the row has no path"
    if has_secret(value):
        return known_path(value), "the path contains a credential"
    if address := _ADDRESS.match(value):
        scheme = address[1] or address[2] or "https"
        return place, f"the path is an address ({scheme}:), {AN_ADDRESS}"
    if _DRIVE.match(value):
        return place, "the path is one of Windows: write it relative to the table's folder, with /"
    path = posixpath.normpath(value)
    if path == ".." or path.startswith(("/", "../")):
        raise refusal(
            f"{place} has the path {value!r}, which leaves the table's folder",
            "paths relative to the table's folder, and inside it",
            "Move the files into the table's folder, and write their paths relative to it",
        )
    if "\0" in path or not is_utf_8(path):
        return place, f"the path {printable(value)!r} is not valid"
    return path, None


def printable(text: str) -> str:
    """Escape the parts of a text that are not valid UTF-8, so that any file can contain it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def known_path(text: str) -> str:
    """Return a path as records keep it: without a credential, and valid in any file."""
    return redacted(printable(text))


def quoted(names: set[str]) -> str:
    """Return names in quotes, sorted, in one line."""
    return ", ".join(repr(name) for name in sorted(names))


def refusal(problem: str, expected: str, remedy: str) -> BlocksError:
    """Return the error for a source that cannot be used as a whole."""
    return BlocksError(STEP_NAME, "source", problem, expected, remedy)


def no_rows() -> BlocksError:
    """Return the error for a table without rows."""
    remedy = "Add rows to the table, or pass another table"
    return refusal("the table has no rows", "a row for each item", remedy)
