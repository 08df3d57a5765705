"""The state of a commit, as far as a review compares it: values that depend on the commit alone."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from tfhub_blocks.control.costs.cost_estimates import CostEstimate
from tfhub_blocks.control.project.guardrails import Guardrails
from tfhub_blocks.control.project.profiles import SpendingBudget
from tfhub_blocks.control.rules.rule import Finding

# Facts by section, subject and key. Each value is a text.
Facts = Mapping[str, Mapping[str, Mapping[str, str]]]
SECTIONS = (
    "environments",
    "encoders",
    "data",
    "releases",
    "schedules",
    "endpoints",
    "profiles",
    "prices",
)


@dataclass(frozen=True)
class StepState:
    """One step of a pipeline under a profile.

    ``files`` contains the SHA-256 of each file of the code snapshot. ``settings`` are those of the
    machine and the limits, ``inputs`` the values, and ``sources`` the steps whose outputs it reads.
    """

    component: str
    deterministic: bool
    environment: str
    ports: str
    size: str
    files: Mapping[str, str] = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class PipelineState:
    """One pipeline under one profile; ``problem`` says why it does not compile or has no cost."""

    steps: Mapping[str, StepState] = field(default_factory=dict)
    estimate: CostEstimate | None = None
    runs_per_month: int = 0
    problem: str = ""

    @property
    def ceiling(self) -> float | None:
        """The highest possible cost of a run, or None if it is unknown."""
        return self.estimate.most.total if self.estimate else None


@dataclass(frozen=True)
class ProfileState:
    """One profile: its budget, its guardrails, and the last days of its exceptions."""

    takes_locks: bool
    guardrails: Guardrails
    budget: SpendingBudget | None = None
    exceptions: tuple[tuple[date, str], ...] = ()
    # What the profile would refuse, by release.
    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CommitState:
    """All that a review compares of a commit; pipelines by profile and name."""

    commit: str
    facts: Facts
    pipelines: Mapping[tuple[str, str], PipelineState]
    profiles: Mapping[str, ProfileState]
    findings: Mapping[str, tuple[Finding, ...]]

    def known_findings(self) -> Iterator[tuple[str, Finding]]:
        """Yield each finding of ``check`` with its profile."""
        for profile, found in self.findings.items():
            yield from ((profile, it) for it in found)
