"""The actual costs of runs: each step next to its expected cost, and totals by owner over time."""

# decision 27

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from tfhub_blocks.control.costs.job_states import ENDED
from tfhub_blocks.control.project.run_records import RunRecord, StepRecord, began
from tfhub_blocks.control.project.run_terms import Terms, total

By = Literal["owner", "cost_centre", "pipeline", "profile"]
NOBODY = "(not set)"


@dataclass(frozen=True)
class StepAccount:
    """One step's expected, highest possible and actual cost; None where a price is unknown."""

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
    """The costs of one run.

    ``idle`` is the highest possible cost of nodes that idled between and after the steps of this
    run; ``idle_ceiling`` is the limit of that cost before the run.
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
        """The expected cost of all steps."""
        return total(step.expected for step in self.steps.values())

    @property
    def ceiling(self) -> float | None:
        """The highest possible cost of all steps."""
        return total(step.ceiling for step in self.steps.values())

    @property
    def actual(self) -> float | None:
        """The actual cost of all steps."""
        return total(step.actual for step in self.steps.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the account, JSON-ready."""
        totals = {"expected": self.expected, "ceiling": self.ceiling, "actual": self.actual}
        return asdict(self) | {"of_steps": totals}


def account(record: RunRecord) -> Account:
    """Return the costs of a run from its record, at the prices of its day."""
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
    # A step that was reused or never started costs nothing, at any price.
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
    """Return the highest possible cost of cluster nodes while no step ran on them."""
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
    """Return the idle cost of one cluster.

    A node idles from the end of each step until the next one starts or the node is released.
    """
    costs = []
    for number, (_, end, terms) in enumerate(spans):
        later = [start for start, _, _ in spans[number + 1 :] if start >= end]
        wait_s = min((start - end).total_seconds() for start in later) if later else terms.idle_s
        costs.append(terms.cost(min(wait_s, terms.idle_s)))
    return total(costs)


@dataclass(frozen=True)
class Spending:
    """The actual and the highest possible cost of an owner's runs in a month, in one currency.

    ``unpriced`` counts the runs without prices in their records; no amount includes them.
    ``unfinished`` counts the runs that had not ended when they were last queried.
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
        """The cost of steps and idle nodes."""
        return self.steps + self.idle


def spending(records: Iterable[RunRecord], by: By, since: str = "") -> list[Spending]:
    """Return the spending by month and owner, the earliest month first.

    Amounts in several currencies are never added: each currency has its own row.

    Args:
        records: The runs and jobs.
        by: The field of a record to group by.
        since: The first month or day that counts, such as ``2026-01``.
    """
    rows: dict[tuple[str, str, str], list[Account]] = {}
    for record in records:
        if record.started[: len(since)] >= since:
            who = str(getattr(record, by)) or NOBODY
            rows.setdefault((record.started[:7], who, record.currency), []).append(account(record))
    return [_spending(*key, rows[key]) for key in sorted(rows)]


def _spending(month: str, who: str, currency: str, accounts: list[Account]) -> Spending:
    priced = [account for account in accounts if account.actual is not None]
    return Spending(
        month,
        who,
        currency,
        runs=len(accounts),
        unpriced=len(accounts) - len(priced),
        unfinished=sum(account.status not in ENDED for account in accounts),
        steps=sum(account.actual or 0.0 for account in priced),
        idle=sum(account.idle or 0.0 for account in priced),
        ceiling=sum((account.ceiling or 0.0) + (account.idle_ceiling or 0.0) for account in priced),
    )
