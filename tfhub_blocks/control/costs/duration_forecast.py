"""The expected duration of a step, from earlier runs or from the rates in their logs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from tfhub_blocks.control.project.run_records import COMPLETED, past_runs
from tfhub_blocks.control.project.run_terms import Terms
from tfhub_blocks.records.base.step_messages import PROGRESS_PREFIX

# The newest runs of a component, so that a change of the component counts soon.
MOST_RUNS = 10
MOST_RECORDS = 200
_TAIL_BYTES = 4096
_PROGRESS = re.compile(rf"^{PROGRESS_PREFIX}(\d+)(?:/(\d+))? (.+?)(?:, (\d+)/s.*)?$", re.MULTILINE)


@dataclass(frozen=True)
class PastStep:
    """A step of an earlier run: its duration, its terms if known, and its log.

    ``logs`` are the existing logs of all steps of that run.
    """

    component: str
    seconds: float
    is_complete: bool
    terms: Terms | None
    log: Path
    logs: tuple[Path, ...]

    def ran_on(self, terms: Terms) -> bool:
        """Return True if the step ran on the same machine size and the same number of machines."""
        mine = self.terms
        return mine is not None and (mine.size, mine.instances) == (terms.size, terms.instances)


@dataclass(frozen=True)
class Throughput:
    """A step's rate in units per second, and the total number of units."""

    per_second: float
    unit: str
    total: int | None


@dataclass(frozen=True)
class Expectation:
    """An expected duration in seconds, or None if unknown, and its source in words."""

    seconds: float | None
    basis: str


@dataclass(frozen=True)
class Past:
    """The steps of local runs and of jobs submitted from here; the newest first."""

    steps: Sequence[PastStep]

    @classmethod
    def of(cls, folder: Path) -> "Past":
        """Read the records below a folder ``.runs``; reused steps are left out."""
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
        """Return the expected duration of a step, at most its time limit.

        Runs on the same machines count first, otherwise all runs. Without a successful run, the
        rate in the logs and the number of items in that run give the duration. If ``items`` is
        given, rates come first: a step that processed a fifth of its run's items, such as a split,
        is expected to process a fifth of ``items``.
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
        return Expectation(None, "no earlier run; uses the limit")

    def expected(self, component: str, terms: Terms) -> Terms:
        """Return the terms with the expected duration added."""
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
            basis = f"{count:,} {rate.unit} at {rate.per_second:g}/s"
            return Expectation(count / rate.per_second, basis)
    return None


def most_things(logs: Sequence[Path]) -> int:
    """Return the number of units of the step in a run that processed the most."""
    return max((int(line[2]) for log in logs for line in _progress(log) if line[2]), default=1)


def throughput(log: Path) -> Throughput | None:
    """Return the last rate in a step's log, or None without a rate."""
    found = [line for line in _progress(log) if int(line[4] or 0) > 0]
    if not found:
        return None
    _, total, unit, rate = found[-1].groups()
    return Throughput(float(rate), unit, int(total) if total else None)


def _progress(log: Path) -> list[re.Match[str]]:
    """Return the progress lines at the end of a step's log."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
        return list(_PROGRESS.finditer(file.read().decode(errors="replace")))
