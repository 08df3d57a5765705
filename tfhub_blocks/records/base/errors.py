"""The one kind of error that is written for the user who can fix its cause."""

import difflib
from collections.abc import Iterable

# This prefix lets an engine find the message in a log.
ERROR_PREFIX = "error: "


class BlocksError(Exception):
    """A mistake in a request or its data, explained in one line.

    Commands and steps print it without a traceback::

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
        self.what = what
        self.problem = problem
        self.expected = expected
        self.remedy = remedy
        sentences = [problem, expected and f"Expected {expected}", remedy]
        super().__init__(f"[{where} > {what}] " + " ".join(map(_sentence, filter(None, sentences))))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question that names the known word nearest to a mistyped one, or an empty text."""
    folded = {word.casefold(): word for word in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"Did you mean {folded[near[0]]!r}?" if near else ""
