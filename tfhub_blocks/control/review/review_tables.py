"""The content of a review as tables: a summary that can be read in ten seconds, and the details."""

from collections.abc import Iterator
from dataclasses import dataclass

from tfhub_blocks.control.costs.prices import money
from tfhub_blocks.control.review.guarded_changes import GuardedChange
from tfhub_blocks.control.review.state_comparison import (
    ALWAYS,
    GONE,
    NEW,
    REUSED,
    RUNS,
    Comparison,
    PipelineChange,
)
from tfhub_blocks.control.rules.rule import Finding

_DIGITS = 12
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Review:
    """The review of a change: all that differs, and the changes that guardrails concern."""

    found: Comparison
    guarded: tuple[GuardedChange, ...]

    @property
    def has_failed(self) -> bool:
        """True if a guardrail stops the change, or an approval is missing."""
        return any(it.stands for it in self.guarded)

    @property
    def is_empty(self) -> bool:
        """True if the change has no effect that a review lists."""
        return self.found.is_empty and not self.guarded

    @property
    def title(self) -> str:
        """The two commits."""
        return f"Review of {self.found.head[:_DIGITS]} against {self.found.base[:_DIGITS]}"

    @property
    def verdict(self) -> str:
        """The result in one sentence."""
        stops = [it.kind for it in self.guarded if it.stands and it.action == "stop"]
        lacks = [it for it in self.guarded if it.stands and it.action == "approve"]
        if stops:
            return f"A guardrail stops this change: {', '.join(dict.fromkeys(stops))}."
        if lacks:
            kinds = ", ".join(dict.fromkeys(it.kind for it in lacks))
            names = " or ".join(dict.fromkeys(name for it in lacks for name in it.approvers))
            return f"This change needs the approval of {names}: {kinds}."
        if self.is_empty:
            return "No pipeline, cost or setting changes."
        if errors := sum(it.stands for _, it in self.found.new_findings):
            return f"This change adds {errors} {'error' if errors == 1 else 'errors'} of `check`."
        return "No guardrail needs an approval."


@dataclass(frozen=True)
class Table:
    """A table of a review: a title, the names of its columns, and its rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summary(review: Review) -> Table:
    """Return the table at the top: what a reviewer needs first."""
    return Table("Summary", ("", "before", "after"), tuple(_summary(review)))


def details(review: Review) -> Iterator[Table]:
    """Yield the tables with all details; tables without a row are left out."""
    found = review.found
    tables = [
        Table(
            "Guardrails",
            ("guardrail", "profile", "change", "verdict"),
            tuple((it.kind, it.profile, it.text, it.verdict) for it in review.guarded),
        ),
        Table(
            "Cost of a run by pipeline",
            (
                *("pipeline", "profile", "runs again", "reused"),
                *("at most before", "at most after", "expected before", "expected after"),
                "next run",
            ),
            tuple(_cost_row(it) for it in found.pipelines if it.is_changed),
        ),
        Table(
            "Steps that run again",
            ("pipeline", "step", "state", "why", "profiles"),
            tuple(_step_rows(found)),
        ),
        Table("New findings of check", _FINDING, tuple(map(_finding, found.new_findings))),
        Table(
            "Findings of check that are gone", _FINDING, tuple(map(_finding, found.gone_findings))
        ),
        Table(
            "Releases that a profile refuses",
            ("release", "profile", "before", "after"),
            tuple(
                (release, profile, before or "accepted", after or "accepted")
                for profile, release, before, after in found.refused
            ),
        ),
        Table(
            "Exceptions that end",
            ("last day", "profile", "exception"),
            tuple(
                (f"{day}{', expired' if day < found.day else ''}", profile, text)
                for profile, day, text in found.expiring
            ),
        ),
        *(
            Table(
                f"Changes of {name}",
                ("what", "key", "before", "after"),
                tuple(
                    (it.subject, it.key, _shown(it.before), _shown(it.after))
                    for it in found.facts[name]
                ),
            )
            for name in found.facts
        ),
    ]
    yield from (it for it in tables if it.rows)


_FINDING = ("severity", "rule", "profile", "where", "problem")


def _summary(review: Review) -> Iterator[tuple[str, str, str]]:
    found = review.found
    changed = [it for it in found.pipelines if it.is_changed and it.after]
    if dearest := max(changed, key=_after, default=None):
        title = f"highest cost of a run ({dearest.pipeline}, {dearest.profile})"
        before = dearest.before.ceiling if dearest.before else None
        after = dearest.after.ceiling if dearest.after else None
        budget = _budget(dearest)
        yield title, _amount(before, dearest), _amount(after, dearest) + budget
        yield "expected cost of its next run", "", _amount(dearest.next_run, dearest)
    for month in found.months:
        if month.before or month.after or month.spent:
            limit = month.budget.month if month.budget else None
            of = f" of {money(limit)}" if limit is not None else ""
            spent = f"; spent this month: {money(month.spent)}"
            yield (
                f"scheduled runs of a month ({month.profile})",
                f"{_money(month.before)} {month.currency}",
                f"{_money(month.after)} {month.currency}{of}{spent}",
            )
    again = {
        (it.pipeline, name) for it in changed for name, step in it.steps.items() if _runs(step)
    }
    steps = {(it.pipeline, name) for it in found.pipelines for name in it.steps}
    yield "steps that run again", "", f"{len(again)} of {len(steps)}"
    new, gone = (
        sum(it.stands for _, it in findings)
        for findings in (found.new_findings, found.gone_findings)
    )
    yield "errors of check", f"{gone} gone", f"{new} new"
    if any(before or after for _, _, before, after in found.refused):
        befores = sum(bool(before) for _, _, before, _ in found.refused)
        afters = sum(bool(after) for _, _, _, after in found.refused)
        yield "releases that production refuses", str(befores), str(afters)
    if facts := [f"{name} {len(it)}" for name, it in found.facts.items() if it]:
        yield "other changes", "", ", ".join(facts)


def _runs(step: object) -> bool:
    return getattr(step, "state", "") in (RUNS, NEW)


def _after(change: PipelineChange) -> tuple[float, str, str]:
    """Return the order of pipelines: the higher the cost, the later; unknown costs come last."""
    cost = change.after.ceiling if change.after else None
    return (float("inf") if cost is None else cost, change.profile, change.pipeline)


def _budget(change: PipelineChange) -> str:
    budget = change.after.estimate.budget if change.after and change.after.estimate else None
    return f" (budget {money(budget.run)})" if budget and budget.run is not None else ""


def _cost_row(it: PipelineChange) -> tuple[str, ...]:
    states = (it.before, it.after)
    if it.after is None:
        again = "removed"
    elif it.after.problem:
        again = f"does not compile: {it.after.problem}" if not it.after.steps else it.after.problem
    else:
        again = str(it.count(RUNS, NEW, ALWAYS))
    return (
        it.pipeline,
        it.profile,
        again,
        str(it.count(REUSED)),
        *(_money(state.ceiling) if state else "none" for state in states),
        *(
            _money(state.estimate.expected_total if state.estimate else None) if state else "none"
            for state in states
        ),
        _amount(it.next_run, it),
    )


def _step_rows(found: Comparison) -> Iterator[tuple[str, ...]]:
    """Yield each step that does not stay, once with all profiles that agree about the reasons."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for it in found.pipelines:
        for name, step in it.steps.items() if it.is_changed else ():
            if step.state in (RUNS, NEW, GONE) or (step.state == ALWAYS and step.reasons):
                why = "; ".join(step.reasons)
                rows.setdefault((it.pipeline, name, step.state, why), []).append(it.profile)
    for row, profiles in rows.items():
        yield (*row, ", ".join(profiles))


def _finding(found: tuple[str, Finding]) -> tuple[str, ...]:
    profile, it = found
    severity = "excepted" if it.exception else it.severity
    node = f"{it.pipeline} > {it.node}" if it.pipeline and " " not in it.node else it.node
    return severity, it.rule, profile, f"{it.place} {node}", it.problem


def _shown(text: str | None) -> str:
    return "none" if text is None else text


def _money(amount: float | None) -> str:
    return _UNKNOWN if amount is None else money(amount)


def _amount(amount: float | None, change: PipelineChange) -> str:
    if amount is None:
        return _UNKNOWN
    estimate = next(
        (it.estimate for it in (change.after, change.before) if it and it.estimate), None
    )
    return f"{money(amount)} {estimate.most.currency if estimate else ''}".strip()
