"""A rule: one small function that yields the faults of a subject, as findings."""

# decision 24

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tfhub_blocks.control.project.rule_exceptions import RuleException, Severity
from tfhub_blocks.control.rules.source_lines import SourceLine

if TYPE_CHECKING:
    from tfhub_blocks.control.rules.subject import Subject

DOCS = "https://github.com/tfhub-blocks/tfhub-blocks/blob/main/docs/rules.md"


@dataclass(frozen=True)
class Finding:
    """A fault: the problem, the remedy, and the place in a file.

    ``node`` is a step's name in the pipeline, or a word and a name, such as ``profile local``.
    A finding of the second form may concern several pipelines, and then names no pipeline. The
    fields after ``place`` are set by the check that ran the rule.
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
        """True if the finding fails the check."""
        return self.severity == "error" and self.exception is None


Finder = Callable[["Subject"], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule: its demand, its reason, and the severity if the profile sets no other.

    ``trial`` is the severity in a trial profile. ``docs`` is the page that explains the rule.
    """

    id: str
    demand: str
    why: str
    severity: Severity
    trial: Severity
    docs: str
    find: Finder

    @property
    def reference(self) -> str:
        """The command or the page that explains the rule."""
        own = self.docs == f"{DOCS}#{self.id}"
        return f"tfhub-blocks check --explain {self.id}" if own else self.docs

    def __call__(self, subject: "Subject") -> Iterator[Finding]:
        """Yield the findings on a subject."""
        return self.find(subject)


def rule(
    id: str,
    demand: str,
    why: str,
    severity: Severity = "error",
    trial: Severity | None = None,
    docs: str = "",
) -> Callable[[Finder], Rule]:
    """Turn a function from a Subject to its findings into a rule.

    Example::

        @rule("team-lunch", "no step runs at noon", "the team is away")
        def team_lunch(subject: Subject) -> Iterator[Finding]: ...

    Args:
        id: The part that the rule guards and its topic, such as ``environment-lock``.
        demand: The condition that must be met, as one line.
        why: The cost of a violation, as one line.
        severity: The severity of a finding.
        trial: The severity in a trial profile (``encoder_policy = "experiment"``); the same as
            ``severity`` if not passed.
        docs: The page that explains the rule; the section of rules.md if not passed.
    """

    def make(find: Finder) -> Rule:
        return Rule(id, demand, why, severity, trial or severity, docs or f"{DOCS}#{id}", find)

    return make
