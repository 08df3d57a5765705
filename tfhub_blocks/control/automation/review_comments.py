"""The comment of a review: found again and updated, and left out where nothing changes."""

# decision 110

import json
import re
from pathlib import Path
from typing import Any

from tfhub_blocks.control.automation.ci_settings import CommentMode
from tfhub_blocks.control.automation.forges import Comment, Forge
from tfhub_blocks.control.review.review_markdown import GITHUB_BYTES, MARKER
from tfhub_blocks.records.base.errors import BlocksError

WHERE = "ci comment"
TEXT, RECORD, CHANGE = "review.md", "review.json", "change"


def comment_review(forge: Forge, folder: Path, mode: CommentMode, change: str, head: str) -> str:
    """Write the review of a change into its comment, and return what was done.

    The folder may come from a fork: its files are read as data, and the change that it names must
    have the commit whose run wrote the folder.

    Args:
        forge: The service of the repository.
        folder: The folder with the review.
        mode: ``update`` keeps one comment, ``new`` writes another one if the review differs from
            the last, and ``hide-and-new`` hides those before it.
        change: The number of the change; empty to take the number in the folder.
        head: The name of the commit that was reviewed.

    Raises:
        BlocksError: The folder is not a review of this commit, or the service refused a request.
    """
    change = change or _read(folder / CHANGE).strip()
    if not re.fullmatch(r"[1-9][0-9]{0,9}", change):
        raise _invalid(folder / CHANGE, f"{change[:40]!r} is not the number of a change")
    if forge.head(change) != head:
        raise _invalid(folder / CHANGE, f"change {change} has another commit than {head[:12]}")
    body, record = _read(folder / TEXT), _record(folder / RECORD)
    if not body.startswith(MARKER) or len(body.encode()) > GITHUB_BYTES:
        raise _invalid(folder / TEXT, "the file does not have the form of a review")
    own = [it for it in forge.comments(change) if it.body.startswith(MARKER)]
    if record.get("empty") is True and not own:
        return "nothing changes, and no comment is needed"
    last = own[-1] if own else None
    if last is not None and _same(last, body):
        return "the comment is up to date"
    if last is not None and mode == "update":
        forge.update(change, last, body)
        return "the comment is updated"
    for it in own if mode == "hide-and-new" else ():
        forge.hide(change, it)
    forge.write(change, body)
    return "a comment is written"


def _same(comment: Comment, body: str) -> bool:
    """Return True if a comment has a text; services change line ends and white space at the end."""
    return _lines(comment.body) == _lines(body)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise _invalid(path, f"the file is not JSON ({error})") from error
    return record if isinstance(record, dict) else {}


def _read(path: Path) -> str:
    try:
        if path.is_symlink():
            raise _invalid(path, "the file is a link")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise _invalid(path, f"the file cannot be read ({error})") from error


def _invalid(path: Path, problem: str) -> BlocksError:
    return BlocksError(
        WHERE,
        str(path),
        problem,
        "the folder that `tfhub-blocks review` filled for this commit",
        "Run the job of the review again",
    )
