"""A rule: one small function that yields what is wrong with a subject; and what it yields."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfhub_blocks.control.project.rule_exceptions import RuleException, Severity
from tfhub_blocks.control.rules.source_lines import SourceLine

if TYPE_CHECKING:
    from tfhub_blocks.control.rules.subject import Subject

DOCS = "docs/rules.md"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: about what, where that is written, and how to mend it.

    ``node`` is a step's name in the pipeline; else a word and a name, such as ``profile local``,
    and then it may be of several pipelines and names none. What follows ``place`` is filled in by
    whoever ran the rule.
    """

    problem: str
    remedy: str
    node: str
    pipeline: str
    place: SourceLine
    rule: str = ""
    severity: Severity = "error"
    exception: RuleException | None = None

    @property
    def stands(self) -> bool:
        """Whether it fails the check."""
        return self.severity == "error" and self.exception is None


Finder = Callable[["Subject"], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule: what it demands, why, and how bad a finding is if the profile says nothing of it.

    ``trial`` is that for a profile to try things. ``docs`` is where more is said of it.
    """

    id: str
    demand: str
    why: str
    severity: Severity
    trial: Severity
    docs: str
    find: Finder

    def __call__(self, subject: "Subject") -> Iterator[Finding]:
        """What is wrong with a subject."""
        return self.find(subject)


def rule(
    id: str,
    demand: str,
    why: str,
    severity: Severity = "error",
    trial: Severity | None = None,
    docs: str = "",
) -> Callable[[Finder], Rule]:
    """Make a rule of a function from a Subject to its findings.

    Args:
        id: The subject that it guards and what it is about, as ``environment-lock``.
        demand: What has to be so, in a line.
        why: What it costs if it is not, in a line.
        severity: How bad a finding is.
        trial: How bad it is in a profile to try things (``encoder_policy = "experiment"``); as
            ``severity`` if it is not given.
        docs: A page that says more; this project's, if it is not given.
    """

    def make(find: Finder) -> Rule:
        return Rule(id, demand, why, severity, trial or severity, docs or f"{DOCS}#{id}", find)

    return make
