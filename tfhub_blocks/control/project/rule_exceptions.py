"""What a profile says of rules: how bad a finding is, and which are put up with until when."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from typing import Literal

Severity = Literal["error", "warning", "note", "off"]


@dataclass(frozen=True)
class RuleException:
    """Why findings of a rule are put up with, by whose word, and until when, that day included.

    Those of one pipeline and of one node, where it names them.
    """

    rule: str
    owner: str
    reason: str
    expires: date
    pipeline: str | None = None
    node: str | None = None

    def covers(self, rule: str, pipeline: str | None, node: str | None) -> bool:
        """Whether it is about such a finding; None stands for any."""
        return (
            self.rule == rule
            and (self.pipeline is None or pipeline in (None, self.pipeline))
            and (self.node is None or node in (None, self.node))
        )


def faults(
    rules: Mapping[str, Severity], exceptions: Sequence[RuleException]
) -> Iterator[tuple[str, str, str]]:
    """Key, problem and expectation of what a profile says of rules and cannot mean."""
    for index, one in enumerate(exceptions):
        for key, text in (("owner", one.owner), ("reason", one.reason)):
            if not text.strip():
                yield f"exceptions.{index}.{key}", "it is empty", "a line of text"
        if rules.get(one.rule) == "off":
            problem = f"[rules] turns {one.rule} off, so there is nothing to except"
            yield f"exceptions.{index}.rule", problem, "one of both"
    for (first, one), (second, other) in combinations(enumerate(exceptions), 2):
        if one.covers(other.rule, other.pipeline, other.node):
            problem = f"it and exceptions.{first} speak of the same findings of {one.rule}"
            yield f"exceptions.{second}", problem, "one owner, reason and date for a finding"
