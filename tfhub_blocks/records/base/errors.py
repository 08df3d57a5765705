"""The one kind of error that is written for the user who can fix its cause."""

import difflib
from collections.abc import Iterable

from tfhub_blocks.records.base.foreign_text import printable
from tfhub_blocks.records.base.redaction import redacted

# This prefix lets an engine find the message in a log.
ERROR_PREFIX = "error: "
_LONGEST_TEXT = 300
# Of a field that repeats what somebody passed, such as the content of a damaged file.
_LONGEST_FIELD = 1000


class BlocksError(Exception):
    """A mistake in a request or its data, explained in one line.

    No field contains a secret, and the message is one line, whatever the fields contain. Commands
    and steps print it without a traceback::

        BlocksError("deploy online", "--until", "2020-01-01 is in the past",
                    "a date from 2026-11-30 to 2026-12-07", "Pass --until 2026-12-07")

    Args:
        where: The command or step that the user started, such as ``snapshot_data``.
        what: The option, parameter, file or item, spelled as the user spells it.
        problem: The fault, as a sentence that begins with its subject and contains the value.
        expected: A noun phrase that completes "Expected ...", or nothing if the problem says it.
        remedy: An instruction that can be followed, with the option, command or value to use.
    """

    def __init__(self, where: str, what: str, problem: str, expected: str, remedy: str) -> None:
        self.where = where
        self.what = _clipped(redacted(what))
        self.problem = _clipped(redacted(problem))
        self.expected = redacted(expected)
        self.remedy = redacted(remedy)
        sentences = [self.problem, expected and f"Expected {self.expected}", self.remedy]
        told = " ".join(map(_sentence, filter(None, sentences)))
        super().__init__(printable(f"[{where} > {self.what}] {told}"))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST_FIELD else f"{text[:_LONGEST_FIELD]}..."


def unforeseen(where: str, error: BaseException, place: str) -> BlocksError:
    """Return the error for an exception that nobody wrote a message for.

    Args:
        where: The command or step that the user started.
        error: The exception.
        place: Where its traceback stands, such as the path of a file.
    """
    text = " ".join(str(error).split())
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}..."
    return BlocksError(
        where,
        type(error).__name__,
        f"an unforeseen error ended the program{f': {text}' if text else ''}",
        "",
        f"Read the traceback in {place}; report it if the request and its data are right",
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question that names the known word nearest to a mistyped one, or an empty text."""
    word = nearest_word(name, known)
    return f"Did you mean {word!r}?" if word is not None else ""


def nearest_word(name: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to a mistyped one, or None if none is near."""
    folded = {word.casefold(): word for word in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return folded[near[0]] if near else None
