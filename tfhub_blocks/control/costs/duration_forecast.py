"""How long a step is expected to take: as earlier runs took, or as they went while they did."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from tfhub_blocks.control.project.run_records import COMPLETED, past_runs
from tfhub_blocks.control.project.run_terms import Terms
from tfhub_blocks.records.base.progress import PREFIX

# Of one component the newest, so that a change of it counts soon.
MOST_RUNS = 10
MOST_RECORDS = 200
_TAIL_BYTES = 4096
_PROGRESS = re.compile(rf"^{PREFIX}(\d+)(?:/(\d+))? (.+?), (\d+)/s", re.MULTILINE)


@dataclass(frozen=True)
class PastStep:
    """A step that ran earlier: how long, on which terms if that is known, and where its log is.

    ``logs`` are those of all steps of its run that have one.
    """

    component: str
    seconds: float
    is_complete: bool
    terms: Terms | None
    log: Path
    logs: tuple[Path, ...]

    def ran_on(self, terms: Terms) -> bool:
        """Whether it ran on the same machines, and as many of them."""
        mine = self.terms
        return mine is not None and (mine.size, mine.instances) == (terms.size, terms.instances)


@dataclass(frozen=True)
class Throughput:
    """How many things of a kind a step did in a second, and how many there were."""

    per_second: float
    unit: str
    total: int | None


@dataclass(frozen=True)
class Expectation:
    """So many seconds, or None where nothing is known; and whence, in words."""

    seconds: float | None
    basis: str


@dataclass(frozen=True)
class Past:
    """The steps that ran here, or were sent to Azure ML from here; the newest first."""

    steps: Sequence[PastStep]

    @classmethod
    def of(cls, folder: Path) -> "Past":
        """What the records below a folder ``.runs`` tell; those of steps that were not reused."""
        steps = []
        for number, (place, record) in enumerate(past_runs(folder)):
            if number == MOST_RECORDS:
                break
            logs = {name: place / "steps" / name / "log.txt" for name in record.steps}
            there = tuple(log for log in logs.values() if log.is_file())
            steps += [
                PastStep(
                    step.component,
                    step.seconds,
                    step.status == COMPLETED,
                    step.terms,
                    logs[name],
                    there,
                )
                for name, step in record.steps.items()
                if step.seconds and not step.reused
            ]
        return cls(steps)

    def expectation(self, component: str, terms: Terms, items: int | None = None) -> Expectation:
        """How long a step is expected to take, at most as long as its limits let it.

        Runs on the same machines count, if there are any, else all. Where none ended well, what
        they said of their progress is held against the number of items that they had; where
        ``items`` says how many there are, that comes first: a step that had a fifth of the items of
        its run, such as a split, is expected to have a fifth of these.
        """
        of_component = [step for step in self.steps if step.component == component]
        same = [step for step in of_component if step.ran_on(terms)]
        most_s = terms.timeout_s * terms.attempts
        for is_rate in (True, False) if items is not None else (False, True):
            for steps, where in ((same, "on the same"), (of_component, "elsewhere")):
                found = _by_rate(steps, items) if is_rate else _by_runs(steps)
                if found is not None and found.seconds is not None:
                    cut = "" if found.seconds <= most_s else ", ended by its limit"
                    seconds = min(found.seconds, float(most_s))
                    return Expectation(seconds, f"{found.basis} {where}{cut}")
        return Expectation(None, "no earlier run: the ceiling")

    def expected(self, component: str, terms: Terms) -> Terms:
        """The terms with what is expected in them."""
        return replace(terms, expected_s=self.expectation(component, terms).seconds)


def _by_runs(steps: Sequence[PastStep]) -> Expectation | None:
    seconds = [step.seconds for step in steps if step.is_complete][:MOST_RUNS]
    if not seconds:
        return None
    runs = "1 run" if len(seconds) == 1 else f"median of {len(seconds)} runs"
    return Expectation(median(seconds), runs)


def _by_rate(steps: Sequence[PastStep], items: int | None) -> Expectation | None:
    for step in (step for step in steps[:MOST_RUNS] if step.log in step.logs):
        rate = throughput(step.log)
        count = rate and rate.total
        if rate and count and items is not None:
            count = max(1, round(items * count / most_things(step.logs)))
        if rate and count:
            told = f"{count:,} {rate.unit} at {rate.per_second:g}/s"
            return Expectation(count / rate.per_second, told)
    return None


def most_things(logs: Sequence[Path]) -> int:
    """How many things that step of a run had which had the most."""
    rates = (throughput(log) for log in logs)
    return max((rate.total for rate in rates if rate and rate.total), default=1)


def throughput(log: Path) -> Throughput | None:
    """What a step's log says last of its progress; None if it says nothing of it."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        text = file.read().decode(errors="replace")
    found = [match for match in _PROGRESS.finditer(text) if int(match[4]) > 0]
    if not found:
        return None
    _, total, unit, rate = found[-1].groups()
    return Throughput(float(rate), unit, int(total) if total else None)
