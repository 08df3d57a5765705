"""Groups that a user defines: items that belong together, such as a patient's or a burst's."""

# decision 80

import posixpath
import re
from collections.abc import Callable

from tfhub_blocks.compute.data.fields import STEP_NAME
from tfhub_blocks.records.base.errors import BlocksError

FOLDER, COLUMN, PATTERN = "folder", "column:", "pattern:"


def check_group_by(rule: str) -> None:
    """Check a rule of groups.

    Raises:
        BlocksError: The rule is unknown, or its pattern is no regular expression.
    """
    if rule in ("", FOLDER) or (rule.startswith(COLUMN) and rule != COLUMN):
        return
    if rule.startswith(PATTERN) and rule != PATTERN:
        try:
            re.compile(rule.removeprefix(PATTERN))
        except re.error as error:
            raise _bad_rule(f"{rule!r} is not a regular expression ({error})") from error
        return
    raise _bad_rule(f"{rule!r} is not a rule of groups")


def column_of(rule: str) -> str | None:
    """Return the column of a table that contains the groups, or None."""
    return rule.removeprefix(COLUMN) if rule.startswith(COLUMN) else None


def group_of(rule: str) -> Callable[[str], str | None]:
    """Return the function from the path of an item to its group; None is no group.

    ``folder`` groups by the parent folder. ``pattern:REGEX`` groups by the part of the path that
    the expression matches, or by its first group in parentheses.
    """
    if rule == FOLDER:
        return posixpath.dirname
    pattern = re.compile(rule.removeprefix(PATTERN))

    def matched(path: str) -> str | None:
        found = pattern.search(path)
        return found[1 if pattern.groups else 0] if found else None

    return matched


def _bad_rule(problem: str) -> BlocksError:
    return BlocksError(
        STEP_NAME,
        "group_by",
        problem,
        f"{FOLDER}, {COLUMN}NAME or {PATTERN}REGEX",
        f"Set group_by to {COLUMN}NAME for a column of the table, to {FOLDER} for the folder that "
        f"contains a file, or to {PATTERN}REGEX for a part of its path",
    )
