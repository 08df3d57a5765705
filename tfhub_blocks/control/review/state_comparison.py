"""The comparison of two states: steps that run again, costs, and all other facts that differ."""

# decision 107

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from tfhub_blocks.control.costs.cost_estimates import CostEstimate
from tfhub_blocks.control.project.profiles import SpendingBudget
from tfhub_blocks.control.project.run_terms import total
from tfhub_blocks.control.review.commit_states import (
    SECTIONS,
    CommitState,
    Facts,
    PipelineState,
    StepState,
)
from tfhub_blocks.control.rules.rule import Finding

RUNS, REUSED, ALWAYS, NEW, GONE = "runs again", "reused", "always runs", "new", "gone"
EXPIRY_DAYS = 30
_SHOWN_FILES = 3


@dataclass(frozen=True)
class StepChange:
    """One step: its state after the change, and the reasons if it runs again."""

    state: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class PipelineChange:
    """One pipeline under one profile, before and after; None where the commit has no such."""

    profile: str
    pipeline: str
    before: PipelineState | None
    after: PipelineState | None
    steps: Mapping[str, StepChange]

    @property
    def is_changed(self) -> bool:
        """True if a step runs again, or a cost or a problem differs."""
        states = {it.state for it in self.steps.values()}
        if states & {RUNS, NEW, GONE} or self.before is None or self.after is None:
            return True
        same = (self.before.problem, self.before.ceiling) == (
            self.after.problem,
            self.after.ceiling,
        )
        return not same or self.before.runs_per_month != self.after.runs_per_month

    def count(self, *states: str) -> int:
        """Return the number of steps in some states."""
        return sum(it.state in states for it in self.steps.values())

    @property
    def next_run(self) -> float | None:
        """The expected cost of the first run after the change, which reuses unchanged steps."""
        estimate = self.after.estimate if self.after else None
        if estimate is None:
            return None
        reused = {name for name, it in self.steps.items() if it.state == REUSED}
        return _reusing(estimate, reused).expected_total


@dataclass(frozen=True)
class FactChange:
    """A fact that differs; None where the commit has no such fact."""

    subject: str
    key: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class MonthCost:
    """The highest cost of a profile's scheduled runs in a month, and what the month has spent."""

    profile: str
    currency: str
    before: float | None
    after: float | None
    spent: float
    budget: SpendingBudget | None


@dataclass(frozen=True)
class Comparison:
    """All that differs between two commits."""

    base: str
    head: str
    day: date
    pipelines: tuple[PipelineChange, ...]
    facts: Mapping[str, tuple[FactChange, ...]]
    months: tuple[MonthCost, ...]
    new_findings: tuple[tuple[str, Finding], ...]
    gone_findings: tuple[tuple[str, Finding], ...]
    # Profile, last day and text of each exception that expired or soon expires.
    expiring: tuple[tuple[str, date, str], ...]
    # Profile, release and reason before and after; an empty reason if the release is accepted.
    refused: tuple[tuple[str, str, str, str], ...]

    @property
    def is_empty(self) -> bool:
        """True if the change has no effect that a review lists."""
        return not (
            any(it.is_changed for it in self.pipelines)
            or any(self.facts.values())
            or self.new_findings
            or self.gone_findings
            or any(before != after for _, _, before, after in self.refused)
        )


def compare_states(
    base: CommitState, head: CommitState, day: date, spent: Mapping[str, float]
) -> Comparison:
    """Return the comparison of two states.

    Args:
        base: The state before the change.
        head: The state after the change.
        day: The day of the review.
        spent: The spending of the month, by currency.
    """
    keys = sorted(base.pipelines.keys() | head.pipelines.keys())
    pipelines = tuple(
        _pipeline(key, base.pipelines.get(key), head.pipelines.get(key)) for key in keys
    )
    new, gone = _findings(base, head), _findings(head, base)
    return Comparison(
        base.commit,
        head.commit,
        day,
        pipelines,
        {name: tuple(_facts(name, base.facts, head.facts)) for name in SECTIONS},
        tuple(_months(base, head, spent)),
        new,
        gone,
        tuple(_expiring(head, day)),
        tuple(_refused(base, head)),
    )


def _pipeline(
    key: tuple[str, str], before: PipelineState | None, after: PipelineState | None
) -> PipelineChange:
    old = before.steps if before else {}
    new = after.steps if after else {}
    steps: dict[str, StepChange] = {}
    for name in _in_order(new):
        steps[name] = _step(new[name], old.get(name), steps)
    steps |= {name: StepChange(GONE) for name in old if name not in new and after is not None}
    if after is not None and after.problem:
        steps = {}
    return PipelineChange(*key, before, after, steps)


def _in_order(steps: Mapping[str, StepState]) -> list[str]:
    """Return the names so that each step follows the steps whose outputs it reads."""
    done: dict[str, None] = {}
    waiting = list(steps)
    while waiting:
        ready = [name for name in waiting if set(steps[name].sources) <= done.keys()]
        for name in ready or waiting:
            done[name] = None
        waiting = [name for name in waiting if name not in done]
    return list(done)


def _step(
    after: StepState, before: StepState | None, known: Mapping[str, StepChange]
) -> StepChange:
    if before is None:
        return StepChange(NEW)
    reasons = list(_reasons(before, after))
    again = [it for it in after.sources if known[it].state != REUSED]
    reasons += [f"it reads {name}, which runs" for name in again]
    if not after.deterministic:
        return StepChange(ALWAYS, tuple(reasons))
    return StepChange(RUNS if reasons else REUSED, tuple(reasons))


def _reasons(before: StepState, after: StepState) -> Iterator[str]:
    if before.component != after.component:
        yield f"component {before.component} is now {after.component}"
        return
    files = [
        name
        for name in sorted(before.files.keys() | after.files.keys())
        if before.files.get(name) != after.files.get(name)
    ]
    if files:
        more = f" and {len(files) - _SHOWN_FILES} more" if len(files) > _SHOWN_FILES else ""
        yield f"code: {', '.join(files[:_SHOWN_FILES])}{more}"
    if before.environment != after.environment:
        yield f"environment: {before.environment} to {after.environment}"
    elif before.ports != after.ports:
        yield "ports or command"
    yield from _values("", before.settings, after.settings)
    yield from _values("input ", before.inputs, after.inputs)


def _values(word: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    for key in dict.fromkeys([*before, *after]):
        one, other = before.get(key, "none"), after.get(key, "none")
        if one != other:
            yield f"{word}{key}: {one} to {other}"


def _reusing(estimate: CostEstimate, reused: Collection[str]) -> CostEstimate:
    """Return an estimate in which some steps are reused."""
    steps = {
        name: replace(it, made_by="an earlier run") if name in reused else it
        for name, it in estimate.steps.items()
    }
    return replace(estimate, steps=steps)


def _facts(section: str, base: Facts, head: Facts) -> Iterator[FactChange]:
    old, new = base.get(section, {}), head.get(section, {})
    for subject in sorted(old.keys() | new.keys()):
        before, after = old.get(subject), new.get(subject)
        if before is None or after is None:
            yield FactChange(subject, "", _count(before), _count(after))
            before, after = before or {}, after or {}
            if section not in ("encoders", "data", "endpoints", "schedules"):
                continue
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                yield FactChange(subject, key, before.get(key), after.get(key))


def _count(facts: Mapping[str, str] | None) -> str | None:
    return None if facts is None else "exists"


def _months(
    base: CommitState, head: CommitState, spent: Mapping[str, float]
) -> Iterator[MonthCost]:
    for name, profile in head.profiles.items():
        before, after = _month(base, name), _month(head, name)
        currency = profile.budget.currency if profile.budget else _currency(head, name)
        yield MonthCost(name, currency, before, after, spent.get(currency, 0.0), profile.budget)


def _month(state: CommitState, profile: str) -> float | None:
    scheduled = [
        None if it.ceiling is None else it.ceiling * it.runs_per_month
        for (name, _), it in state.pipelines.items()
        if name == profile and it.runs_per_month
    ]
    return total(scheduled)


def _currency(state: CommitState, profile: str) -> str:
    found = (it.estimate for (name, _), it in state.pipelines.items() if name == profile)
    return next((it.most.currency for it in found if it), "")


def _findings(one: CommitState, other: CommitState) -> tuple[tuple[str, Finding], ...]:
    """Return the findings of the other state that the first one lacks; lines do not count."""
    known = {_identity(*it) for it in one.known_findings()}
    return tuple(it for it in other.known_findings() if _identity(*it) not in known)


def _identity(profile: str, it: Finding) -> tuple[object, ...]:
    return (profile, it.rule, it.pipeline, it.node, it.problem, it.severity, it.exception is None)


def _expiring(head: CommitState, day: date) -> Iterator[tuple[str, date, str]]:
    for name, profile in head.profiles.items():
        for expires, text in sorted(profile.exceptions):
            if expires <= day + timedelta(days=EXPIRY_DAYS):
                yield name, expires, text


def _refused(base: CommitState, head: CommitState) -> Iterator[tuple[str, str, str, str]]:
    for name, profile in head.profiles.items():
        known = base.profiles.get(name)
        before = known.refused if known else {}
        for release in sorted({*before, *profile.refused}):
            if profile.takes_locks:
                yield name, release, before.get(release, ""), profile.refused.get(release, "")
