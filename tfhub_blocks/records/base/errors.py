"""The one kind of error that is meant for the person who can mend it."""

import difflib
from collections.abc import Iterable

# Before the message on standard error, so that an engine finds it in a log.
ERROR_PREFIX = "error: "


class BlocksError(Exception):
    """A mistake in what was given, told in one line: where, what, what was expected, what to do.

    Whoever starts a step or a command prints it without a traceback.

    Args:
        where: The step, command or file that noticed, such as ``snapshot_data``.
        what: The port, parameter, item or key it is about.
        problem: What is wrong, with the value.
        expected: What was expected instead.
        remedy: What to do next, as an instruction.
    """

    def __init__(self, where: str, what: str, problem: str, expected: str, remedy: str) -> None:
        self.where = where
        self.what = what
        self.problem = problem
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"[{where} > {what}] {problem}; expected {expected}; {remedy}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A question that names the known word nearest to a mistyped one, or nothing; case is free."""
    folded = {word.casefold(): word for word in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"did you mean {folded[near[0]]!r}?" if near else ""
