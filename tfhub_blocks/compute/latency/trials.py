"""Trials: a runtime in a process of its own, compared with the reference first, and then timed.

Each runtime gets a process of its own, because threads are set once per process, and cold start
and memory belong to a process.
"""

# decisions 45 and 122

import json
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

from tfhub_blocks.compute.latency.percentiles import STEADY_CALLS, steady_from
from tfhub_blocks.compute.latency.request_load import closed_loop
from tfhub_blocks.compute.latency.server_process import peak_memory_mb
from tfhub_blocks.records.base.child_process import command
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.runtimes import Runtime

STAGES = ("decode", "forward", "serialise")
LEAST_CALLS = 6 * STEADY_CALLS


@dataclass(frozen=True)
class TrialPlan:
    """The options of every trial of a check.

    ``tolerance`` is the limit of differences, relative to the largest number of a row if above 1.
    """

    tolerance: float = 1e-5
    seconds: float = 2.0
    concurrency: tuple[int, ...] = (1, 2, 4)
    batch_sizes: tuple[int, ...] = (1,)


@dataclass(frozen=True)
class RuntimeTrial:
    """The result of one runtime: ``unfit``, ``unlike`` the reference, or its in-process latencies.

    ``calls_ms`` are the times of successive calls with one item, by stage; the first calls are the
    warm-up. ``cpu_ms`` is the processor time of a later call, which other work on the machine
    hardly changes. ``tensorflow`` is True if TensorFlow was imported. ``throughput`` and
    ``batches`` are items per second by concurrency and by batch size.
    """

    runtime: Runtime
    unfit: str = ""
    unlike: str = ""
    difference: float = 0.0
    cold_start_s: float = 0.0
    memory_mb: float = 0.0
    cpu_ms: float = 0.0
    tensorflow: bool = True
    calls_ms: dict[str, list[float]] = field(default_factory=dict)
    throughput: dict[str, float] = field(default_factory=dict)
    batches: dict[str, float] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """True if the runtime can be chosen."""
        return not (self.unfit or self.unlike)

    @property
    def total_ms(self) -> NDArray[np.float64]:
        """The milliseconds of each call."""
        total: NDArray[np.float64] = np.sum([self.calls_ms[stage] for stage in STAGES], axis=0)
        return total

    @property
    def steady(self) -> int:
        """The index of the first call after the warm-up."""
        return steady_from(self.total_ms.tolist())

    @property
    def p50_ms(self) -> float:
        """The median milliseconds of a call in the steady state."""
        return float(np.median(self.total_ms[self.steady :]))

    def stage_ms(self, stage: str) -> float:
        """Return the median milliseconds of a stage in the steady state."""
        return float(np.median(self.calls_ms[stage][self.steady :]))


def run_trial(
    model: Path,
    runtime: Runtime,
    contents: Sequence[bytes],
    reference: NDArray[np.float32] | None,
    plan: TrialPlan,
) -> tuple[RuntimeTrial, NDArray[np.float32]]:
    """Try a runtime, and return the trial and its answers to the contents, [0, 0] if unfit.

    Args:
        model: The folder of the model.
        runtime: The runtime to try.
        contents: The contents of the sample, one or more.
        reference: The answers to compare with; None for the reference runtime itself.
        plan: The options of the trial.
    """
    with TemporaryDirectory() as folder:
        request, result = Path(folder) / "request", Path(folder) / "result"
        request.mkdir()
        runtime.write(request)
        np.savez(request / "contents.npz", *[np.frombuffer(c, np.uint8) for c in contents])
        if reference is not None:
            np.save(request / "reference.npy", reference)
        task = {"model": str(model), "plan": asdict(plan), "begun": time.time()}
        (request / "trial.json").write_text(json.dumps(task))
        started = command(__name__, str(request), str(result))
        done = subprocess.run(started, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["without output"])[-1]
            reason = f"the process ended with status {done.returncode} ({last[:200]})"
            return RuntimeTrial(runtime, unfit=reason), np.empty((0, 0), np.float32)
        record = json.loads((result / "trial.json").read_text())
        return RuntimeTrial(runtime, **record), np.load(result / "answers.npy")


def main() -> None:
    """Run the trial that a request folder describes, and write the result folder."""
    request, result = (Path(argument) for argument in sys.argv[1:])
    task = json.loads((request / "trial.json").read_text())
    with np.load(request / "contents.npz") as stored:
        contents = [stored[name].tobytes() for name in stored.files]
    kept = request / "reference.npy"
    reference = np.load(kept) if kept.exists() else None
    trial, answers = _trial(Path(task["model"]), request, contents, reference, task)
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
    task: dict[str, Any],
) -> tuple[RuntimeTrial, NDArray[np.float32]]:
    from tfhub_blocks.compute.answering.opener import open_answerer
    from tfhub_blocks.records.formats.runtimes import read_runtime

    plan = TrialPlan(**task["plan"])
    runtime = read_runtime(request) or Runtime()
    try:
        answerer = open_answerer(
            model, where="check_latency", runtime=runtime, trust_code=True, sets_threads=True
        )
    except BlocksError as error:
        return RuntimeTrial(runtime, unfit=error.problem), np.empty((0, 0), np.float32)
    first = [_timed(answerer, contents[0])]
    cold_start_s = time.time() - task["begun"]
    answers = np.concatenate([answerer([content]) for content in contents])
    trial = RuntimeTrial(runtime, cold_start_s=cold_start_s, tensorflow="tensorflow" in sys.modules)
    if reference is not None:
        trial = replace(trial, **_compared(answers, reference, plan.tolerance))
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
    return replace(trial, memory_mb=peak_memory_mb("self")), answers


def _timed(answerer: Any, content: bytes) -> tuple[float, ...]:
    """Return the milliseconds of each stage of one call."""
    marks = [time.perf_counter()]
    prepared = answerer.prepared(content)
    marks.append(time.perf_counter())
    answer = answerer.answered([prepared])
    marks.append(time.perf_counter())
    json.dumps({"labels": answerer.labels, "probabilities": answer.tolist()})
    marks.append(time.perf_counter())
    return tuple(1000 * float(each) for each in np.diff(marks))


def _compared(
    answers: NDArray[np.float32], reference: NDArray[np.float32], tolerance: float
) -> dict[str, Any]:
    """Return the largest difference, and the reason if a label or a number differs too much."""
    largest = difference(answers, reference)
    others = int((answers.argmax(axis=1) != reference.argmax(axis=1)).sum())
    unlike = ""
    if others:
        unlike = f"{others} of {len(answers)} labels differ"
    elif not largest <= tolerance:
        unlike = f"a number differs by {largest:.2g}, more than {tolerance:g}"
    return {"difference": largest, "unlike": unlike}


def difference(answers: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return the largest difference of two arrays [n, classes].

    The difference is relative to the largest number of a row if above 1.
    """
    scale = np.maximum(np.abs(reference).max(axis=1, keepdims=True), 1.0)
    largest = float((np.abs(answers - reference) / scale).max())
    return largest if np.isfinite(largest) else float("inf")
