"""In-toto statements that contain their own digest, so that an edit is found when one is read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.digests import record_digest

# What reading and parsing a statement may raise if the file is damaged or of another kind.
UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    RecursionError,
)


def sealed(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON-ready statement with its digest added."""
    return {**statement, "digest": record_digest(statement)}


def read_sealed(path: Path, form: str) -> dict[str, Any]:
    """Return the statement in a file, without its digest.

    Args:
        path: The file.
        form: The format that the predicate must name, such as ``evidence/1``.

    Raises:
        ValueError: The statement was edited, or has another format. ``UNREADABLE`` lists all
            exceptions that a damaged file can cause.
    """
    statement: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    stated = statement.pop("digest")
    if statement["predicate"]["format"] != form or stated != record_digest(statement):
        raise ValueError("the digest does not match the content")
    return statement
