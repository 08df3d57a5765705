"""Trials: one runtime in a process of its own, held to the reference first, and then timed.

Threads are set once for a process, and what it starts cold in and holds in memory is its own, so
each runtime gets one.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.latency.child_process import command
from tfhub_blocks.compute.latency.percentiles import STEADY_CALLS, steady_from
from tfhub_blocks.compute.latency.request_load import closed_loop
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.runtimes import Runtime

STAGES = ("decode", "forward", "serialise")
LEAST_CALLS = 6 * STEADY_CALLS


@dataclass(frozen=True)
class TrialPlan:
    """What every trial of a check does.

    ``tolerance`` is of differences, relative to the largest number of a row where that is above 1.
    """

    tolerance: float = 1e-5
    seconds: float = 2.0
    concurrency: tuple[int, ...] = (1, 2, 4)
    batch_sizes: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class RuntimeTrial:
    """What became of one runtime: ``unfit`` or ``unlike`` the reference, or its times in process.

    ``calls_ms`` are of calls with one item, one after another, the first ones warming up, by stage;
    ``cpu_ms`` is the processor time of a later one, which other work on the machine hardly changes.
    ``throughput`` and ``batches`` are items in a second by concurrency and by size of batch.
    """

    runtime: Runtime
    unfit: str = ""
    unlike: str = ""
    difference: float = 0.0
    cold_start_s: float = 0.0
    memory_mb: float = 0.0
    cpu_ms: float = 0.0
    calls_ms: dict[str, list[float]] = field(default_factory=dict)
    throughput: dict[str, float] = field(default_factory=dict)
    batches: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether its speed counts."""
        return not (self.unfit or self.unlike)

    @property
    def total_ms(self) -> NDArray[np.float64]:
        """The time of each call."""
        total: NDArray[np.float64] = np.sum([self.calls_ms[stage] for stage in STAGES], axis=0)
        return total

    @property
    def steady(self) -> int:
        """The first call that was no warming up."""
        return steady_from(self.total_ms.tolist())

    @property
    def p50_ms(self) -> float:
        """The median of a call in the steady state."""
        return float(np.median(self.total_ms[self.steady :]))

    def stage_ms(self, stage: str) -> float:
        """The median that one stage took in the steady state."""
        return float(np.median(self.calls_ms[stage][self.steady :]))


def run_trial(
    model: Path,
    runtime: Runtime,
    contents: Sequence[bytes],
    reference: NDArray[np.float32] | None,
    plan: TrialPlan,
) -> tuple[RuntimeTrial, NDArray[np.float32]]:
    """A runtime's trial, and its answers to the contents, [0, 0] if it is unfit.

    Args:
        model: The folder.
        runtime: What computes.
        contents: Of the sample, one or more.
        reference: What answers are held against; None for the runtime that gives it.
        plan: What is done.
    """
    with TemporaryDirectory() as folder:
        request, result = Path(folder) / "request", Path(folder) / "result"
        request.mkdir()
        runtime.write(request)
        np.savez(request / "contents.npz", *[np.frombuffer(c, np.uint8) for c in contents])
        if reference is not None:
            np.save(request / "reference.npy", reference)
        told = {"model": str(model), "plan": asdict(plan), "begun": time.time()}
        (request / "trial.json").write_text(json.dumps(told))
        started = command(__name__, str(request), str(result))
        done = subprocess.run(started, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            reason = f"its process ended with status {done.returncode} ({last[:200]})"
            return RuntimeTrial(runtime, unfit=reason), np.empty((0, 0), np.float32)
        record = json.loads((result / "trial.json").read_text())
        return RuntimeTrial(runtime, **record), np.load(result / "answers.npy")


def main() -> None:
    """Do what a request asks, and write the result beside."""
    request, result = (Path(argument) for argument in sys.argv[1:])
    told = json.loads((request / "trial.json").read_text())
    with np.load(request / "contents.npz") as stored:
        contents = [stored[name].tobytes() for name in stored.files]
    kept = request / "reference.npy"
    reference = np.load(kept) if kept.exists() else None
    trial, answers = _trial(Path(told["model"]), request, contents, reference, told)
    result.mkdir()
    np.save(result / "answers.npy", answers)
    record = asdict(trial)
    del record["runtime"]
    (result / "trial.json").write_text(json.dumps(record))


def _trial(
    model: Path,
    request: Path,
    contents: Sequence[bytes],
    reference: NDArray[np.float32] | None,
    told: dict[str, Any],
) -> tuple[RuntimeTrial, NDArray[np.float32]]:
    from tfhub_blocks.compute.answering.answerers import apply_threads, open_answerer
    from tfhub_blocks.records.formats.runtimes import read_runtime

    plan = TrialPlan(**told["plan"])
    runtime = read_runtime(request) or Runtime()
    apply_threads(runtime)
    try:
        answerer = open_answerer(model, runtime, "check_latency")
    except BlocksError as error:
        return RuntimeTrial(runtime, unfit=error.problem), np.empty((0, 0), np.float32)
    first = [_timed(answerer, contents[0])]
    cold_start_s = time.time() - told["begun"]
    answers = np.concatenate([answerer([content]) for content in contents])
    trial = RuntimeTrial(runtime, cold_start_s=cold_start_s)
    if reference is not None:
        trial = replace(trial, **_held(answers, reference, plan.tolerance))
    if not trial.passed:
        return trial, answers
    until = time.perf_counter() + plan.seconds
    calls, cpu_s = list(first), [0.0]
    while len(calls) < LEAST_CALLS or time.perf_counter() < until:
        calls.append(_timed(answerer, contents[len(calls) % len(contents)]))
        cpu_s.append(time.process_time())
    share_s = plan.seconds / (len(plan.concurrency) + len(plan.batch_sizes))

    def send(number: int) -> None:
        json.dumps(answerer([contents[number % len(contents)]]).tolist())

    def rate(size: int) -> float:
        batch = [contents[number % len(contents)] for number in range(size)]
        return size * closed_loop(lambda _: answerer(batch), 1, share_s)

    trial = replace(
        trial,
        cpu_ms=1000 * (cpu_s[-1] - cpu_s[len(calls) // 2]) / (len(calls) - 1 - len(calls) // 2),
        calls_ms={stage: [call[i] for call in calls] for i, stage in enumerate(STAGES)},
        throughput={str(n): closed_loop(send, n, share_s) for n in plan.concurrency},
        batches={str(n): rate(n) for n in plan.batch_sizes},
    )
    # In kibibytes.
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return replace(trial, memory_mb=peak_kib * 1024 / 1e6), answers


def _timed(answerer: Any, content: bytes) -> tuple[float, ...]:
    """Milliseconds of each stage of one call."""
    marks = [time.perf_counter()]
    prepared = answerer.prepared(content)
    marks.append(time.perf_counter())
    answer = answerer.answered([prepared])
    marks.append(time.perf_counter())
    json.dumps({"labels": answerer.labels, "probabilities": answer.tolist()})
    marks.append(time.perf_counter())
    return tuple(1000 * float(each) for each in np.diff(marks))


def _held(
    answers: NDArray[np.float32], reference: NDArray[np.float32], tolerance: float
) -> dict[str, Any]:
    """The largest difference, and what is wrong if a label or a number differs too much."""
    largest = difference(answers, reference)
    others = int((answers.argmax(axis=1) != reference.argmax(axis=1)).sum())
    unlike = ""
    if others:
        unlike = f"{others} of {len(answers)} labels differ"
    elif not largest <= tolerance:
        unlike = f"a number differs by {largest:.2g}, more than {tolerance:g}"
    return {"difference": largest, "unlike": unlike}


def difference(answers: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """The largest difference of two arrays [n, classes], relative to a row's largest above 1."""
    scale = np.maximum(np.abs(reference).max(axis=1, keepdims=True), 1.0)
    largest = float((np.abs(answers - reference) / scale).max())
    return largest if np.isfinite(largest) else float("inf")
