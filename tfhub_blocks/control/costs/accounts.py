"""What runs did cost: step by step beside what was expected, and by owner over time."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from tfhub_blocks.control.project.run_records import FINAL, RunRecord, StepRecord, began
from tfhub_blocks.control.project.run_terms import Terms, total

By = Literal["owner", "cost_centre", "pipeline", "profile"]
NOBODY = "(not said)"


@dataclass(frozen=True)
class StepAccount:
    """One step: what it was expected to cost, could at most, and did; None where nobody knows."""

    status: str
    reused: bool
    place: str
    seconds: float
    expected_s: float | None
    expected: float | None
    ceiling: float | None
    actual: float | None


@dataclass(frozen=True)
class Account:
    """One run.

    ``idle`` is what nodes cost at most that waited for work between and after steps, as these went;
    ``idle_ceiling`` what that could have been.
    """

    run: str
    pipeline: str
    profile: str
    owner: str
    cost_centre: str
    status: str
    started: str
    currency: str
    prices_of: str
    steps: dict[str, StepAccount]
    idle: float | None
    idle_ceiling: float | None

    @property
    def expected(self) -> float | None:
        """Of all steps."""
        return total(step.expected for step in self.steps.values())

    @property
    def ceiling(self) -> float | None:
        """Of all steps."""
        return total(step.ceiling for step in self.steps.values())

    @property
    def actual(self) -> float | None:
        """Of all steps."""
        return total(step.actual for step in self.steps.values())

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        totals = {"expected": self.expected, "ceiling": self.ceiling, "actual": self.actual}
        return asdict(self) | {"of_steps": totals}


def account(record: RunRecord) -> Account:
    """What a run did cost, from its record, at the prices of its day."""
    return Account(
        run=record.run,
        pipeline=record.pipeline,
        profile=record.profile,
        owner=record.owner,
        cost_centre=record.cost_centre,
        status=record.status,
        started=record.started,
        currency=record.currency,
        prices_of=record.prices_of,
        steps={name: _step(step) for name, step in record.steps.items()},
        idle=_idle(record.steps.values()),
        idle_ceiling=total(
            step.terms.idle_ceiling if step.terms else None for step in record.steps.values()
        ),
    )


def _step(step: StepRecord) -> StepAccount:
    terms = step.terms
    # What is reused, or never began, costs nothing, whatever its price.
    is_free = step.reused or not step.seconds
    actual = 0.0 if is_free else (terms.cost(step.seconds) if terms else None)
    return StepAccount(
        status=step.status,
        reused=step.reused,
        place=terms.place if terms else "",
        seconds=step.seconds,
        expected_s=terms.expected_s if terms else None,
        expected=terms.expected if terms else None,
        ceiling=terms.ceiling if terms else None,
        actual=actual,
    )


def _idle(steps: Iterable[StepRecord]) -> float | None:
    """What the nodes of clusters cost at most while no step ran on them."""
    ran = [step for step in steps if step.seconds and not step.reused]
    clusters: dict[str, list[tuple[datetime, datetime, Terms]]] = {}
    for step in ran:
        if step.terms is None:
            return None
        start = began(step.started)
        end = start + timedelta(seconds=step.seconds)
        clusters.setdefault(step.terms.compute, []).append((start, end, step.terms))
    return total(_idle_of(sorted(spans, key=lambda span: span[0])) for spans in clusters.values())


def _idle_of(spans: list[tuple[datetime, datetime, Terms]]) -> float | None:
    """Of one cluster: after each step, until the next one begins or the node is taken away."""
    costs = []
    for number, (_, end, terms) in enumerate(spans):
        later = [start for start, _, _ in spans[number + 1 :] if start >= end]
        wait_s = min((start - end).total_seconds() for start in later) if later else terms.idle_s
        costs.append(terms.cost(min(wait_s, terms.idle_s)))
    return total(costs)


@dataclass(frozen=True)
class Spending:
    """What somebody's runs of a month did cost, and could have at most, in one currency.

    ``unpriced`` is how many of the runs have no price in their records; they are in no amount.
    ``unfinished`` are those that had not ended when they were last looked at.
    """

    month: str
    who: str
    currency: str
    runs: int
    unpriced: int
    unfinished: int
    steps: float
    idle: float
    ceiling: float

    @property
    def total(self) -> float:
        """Steps and idle nodes."""
        return self.steps + self.idle


def spending(records: Iterable[RunRecord], by: By, since: str = "") -> list[Spending]:
    """Who spent what in which month, the earliest first.

    Amounts in several currencies are never added: each has a row of its own.

    Args:
        records: The runs and jobs.
        by: Whose they are.
        since: The first month or day that counts, such as ``2026-01``.
    """
    rows: dict[tuple[str, str, str], list[Account]] = {}
    for record in records:
        if record.started[: len(since)] >= since:
            who = str(getattr(record, by)) or NOBODY
            rows.setdefault((record.started[:7], who, record.currency), []).append(account(record))
    return [_spending(*key, rows[key]) for key in sorted(rows)]


def _spending(month: str, who: str, currency: str, accounts: list[Account]) -> Spending:
    priced = [it for it in accounts if it.actual is not None]
    return Spending(
        month,
        who,
        currency,
        runs=len(accounts),
        unpriced=len(accounts) - len(priced),
        unfinished=sum(it.status not in FINAL for it in accounts),
        steps=sum(it.actual or 0.0 for it in priced),
        idle=sum(it.idle or 0.0 for it in priced),
        ceiling=sum((it.ceiling or 0.0) + (it.idle_ceiling or 0.0) for it in priced),
    )
