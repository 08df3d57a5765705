"""A latency check: measures candidates in process, then the fastest as served, and chooses one."""

# decision 44

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.latency.latency_budget import (
    FROM_EVALUATION,
    FROM_OWN,
    hold_budget,
    hold_differences,
)
from tfhub_blocks.compute.latency.measurements import Served, ServingPlan, measure_served
from tfhub_blocks.compute.latency.trials import RuntimeTrial, TrialPlan, difference, run_trial
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.evidence import Threshold
from tfhub_blocks.records.formats.runtimes import OWN, Runtime, Speeds

WHERE = "check_latency"
# The number of fastest candidates to measure as served, each with every batch window, before the
# check concludes that no runtime meets the budget.
FINALISTS = 3


@dataclass(frozen=True, eq=False)
class LatencySample:
    """Real items; ``evaluated`` are their answers by ``evaluate``, [n, classes], or None."""

    contents: Sequence[bytes]
    is_text: bool
    evaluated: NDArray[np.float32] | None


@dataclass(frozen=True)
class Choice:
    """The candidates: each engine in each precision with each number of threads.

    Each of ``batch_sizes`` above 1 is also combined with each of ``windows_ms``, the time that a
    batch waits for more items.
    """

    engines: tuple[str, ...]
    precisions: tuple[str, ...]
    threads: tuple[int, ...]
    batch_sizes: tuple[int, ...] = (1,)
    windows_ms: tuple[float, ...] = (0.0,)

    def runtimes(self, cores: int) -> Iterator[Runtime]:
        """Yield the candidates except the reference, with as many computations at once as fit."""
        for engine in self.engines:
            for precision in self.precisions if engine != OWN else ():
                for threads in self.threads:
                    yield Runtime(engine, precision, threads, max(cores // threads, 1))  # type: ignore[arg-type]

    def windows(self, runtime: Runtime) -> Iterator[Runtime]:
        """Yield a candidate without batches, then with each batch size and window."""
        yield runtime
        for size in self.batch_sizes:
            for window in self.windows_ms if size > 1 else ():
                yield replace(runtime, largest_batch=size, batch_window_ms=window)

    def finalists(self, trials: Sequence[RuntimeTrial]) -> Iterator[tuple[RuntimeTrial, Runtime]]:
        """Yield the runtimes to measure as served, from trials that passed, the fastest first."""
        fastest = sorted(trials, key=lambda trial: trial.p50_ms)[:FINALISTS]
        for trial in fastest:
            for runtime in self.windows(trial.runtime):
                yield trial, runtime


@dataclass(frozen=True, eq=False)
class Check:
    """The result: all trials, the reference first; ``served`` is of the chosen runtime."""

    own: RuntimeTrial
    trials: tuple[RuntimeTrial, ...]
    chosen: RuntimeTrial
    served: Served
    thresholds: tuple[Threshold, ...]

    @property
    def missed(self) -> list[Threshold]:
        """The thresholds that the chosen runtime does not meet."""
        return [threshold for threshold in self.thresholds if not threshold.met]


def check(
    model: Path,
    sample: LatencySample,
    choice: Choice,
    budget: Speeds,
    trial_plan: TrialPlan,
    serving_plan: ServingPlan,
    cores: int,
    progress: Callable[[str], None],
) -> Check:
    """Find the fastest runtime that gives the reference's answers and meets the budget.

    The reference is the model's own program. If no runtime meets the budget, the result is the
    runtime that misses the fewest thresholds, and its thresholds record this.

    Raises:
        BlocksError: The reference does not answer the sample.
    """
    own, reference = run_trial(model, Runtime(threads=cores), sample.contents, None, trial_plan)
    if not own.passed:
        raise BlocksError(
            WHERE,
            str(model),
            f"the model does not answer items of the snapshot ({own.unfit})",
            "",
            "Pass a snapshot of the data that the model is for as snapshot",
        )
    progress(_trial_line(own))
    trials = [own]
    for runtime in choice.runtimes(cores):
        trials.append(run_trial(model, runtime, sample.contents, reference, trial_plan)[0])
        progress(_trial_line(trials[-1]))
    passed = [trial for trial in trials if trial.passed]
    if OWN not in choice.engines:
        passed = passed[1:] or passed
    found: list[Check] = []
    for trial, runtime in choice.finalists(passed):
        served = measure_served(model, runtime, sample.contents, sample.is_text, serving_plan)
        differences = {FROM_OWN: _difference(served.answers, reference)}
        if sample.evaluated is not None:
            differences[FROM_EVALUATION] = _difference(served.answers, sample.evaluated)
        thresholds = (
            *hold_differences(differences, trial_plan.tolerance, runtime.precision),
            *hold_budget(budget, served.speeds),
        )
        found.append(Check(own, tuple(trials), trial, served, thresholds))
        progress(_served_line(served, found[-1].missed))
        if not found[-1].missed:
            break
    return min(found, key=lambda each: len(each.missed))


def _difference(answers: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return the largest difference, or infinity if a label differs."""
    if (answers.argmax(axis=1) != reference.argmax(axis=1)).any():
        return float("inf")
    return difference(answers, reference)


def _trial_line(trial: RuntimeTrial) -> str:
    if not trial.passed:
        return f"{trial.runtime.name}: {trial.unfit or trial.unlike}"
    return f"{trial.runtime.name}: p50 {trial.p50_ms:.2f} ms in process"


def _served_line(served: Served, missed: Sequence[Threshold]) -> str:
    speeds = served.speeds
    verdict = f"misses {', '.join(each.name for each in missed)}" if missed else "meets the budget"
    return (
        f"{served.runtime.name}, as served: p50 {speeds.p50_ms:.2f} ms, p99 {speeds.p99_ms:.2f} ms "
        f"at {served.main.offered_per_s:.1f} requests/s; {verdict}"
    )


def stages_told(trial: RuntimeTrial) -> tuple[str, Mapping[str, float]]:
    """Return the slowest stage of a runtime, and the median milliseconds of each stage."""
    stages = {stage: trial.stage_ms(stage) for stage in trial.calls_ms}
    return max(stages, key=lambda stage: stages[stage]), stages
