"""The severities of rules in a profile, and the exceptions that tolerate findings until a date."""

# decision 24

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from typing import Literal

Severity = Literal["error", "warning", "note", "off"]


@dataclass(frozen=True)
class RuleException:
    """An exception to a rule: its owner, its reason, and its last day.

    ``rule`` is the name of the rule. ``owner`` is responsible for the exception. ``reason`` is a
    sentence for people. ``expires`` is the last day. An exception that names a ``pipeline`` or a
    ``node`` covers only the findings there.
    """

    rule: str
    owner: str
    reason: str
    expires: date
    pipeline: str | None = None
    node: str | None = None

    def covers(self, rule: str, pipeline: str | None, node: str | None) -> bool:
        """Return True if the exception covers such a finding; None stands for any."""
        return (
            self.rule == rule
            and (self.pipeline is None or pipeline in (None, self.pipeline))
            and (self.node is None or node in (None, self.node))
        )


def faults(
    rules: Mapping[str, Severity], exceptions: Sequence[RuleException]
) -> Iterator[tuple[str, str, str]]:
    """Yield key, problem and expectation of each contradiction in a profile's rules."""
    for index, one in enumerate(exceptions):
        for key, text in (("owner", one.owner), ("reason", one.reason)):
            if not text.strip():
                yield f"exceptions.{index}.{key}", f"{key} is empty", "a line of text"
        if rules.get(one.rule) == "off":
            problem = f"table [rules] turns {one.rule} off, so this exception has no effect"
            yield f"exceptions.{index}.rule", problem, 'either the exception or "off"'
    for (first, one), (second, other) in combinations(enumerate(exceptions), 2):
        if one.covers(other.rule, other.pipeline, other.node):
            problem = (
                f"exceptions.{second} and exceptions.{first} cover the same findings of {one.rule}"
            )
            yield f"exceptions.{second}", problem, "one owner, reason and date for each finding"
