"""Measurement of a runtime as served: over HTTP, with requests that arrive on schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.latency.accelerated_model import copy_with_runtime, format_of
from tfhub_blocks.compute.latency.percentiles import PERCENTILES, Percentile, percentile
from tfhub_blocks.compute.latency.request_load import Load, closed_loop, open_loop
from tfhub_blocks.compute.latency.server_process import Server, serving
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.runtimes import Runtime, Speeds

# The loads of the throughput curve, as fractions of the capacity.
SHARES = (0.2, 0.5, 0.8, 1.0, 1.2)
# The default load as a fraction of the capacity: at half, latencies do not measure a queue.
USUAL_SHARE = 0.5


@dataclass(frozen=True)
class ServingPlan:
    """The options of a measurement: ``requests`` requests at the rate ``per_s``, if set.

    ``concurrency`` are the numbers of requests that wait at once while capacity is measured, for
    ``seconds`` in total.
    """

    concurrency: tuple[int, ...]
    seconds: float
    requests: int
    per_s: float | None = None


@dataclass(frozen=True, eq=False)
class Served:
    """The measurements of a runtime as served.

    ``answers`` are the answers to the sample, float32 [n, classes]. ``capacity`` is the number of
    items per second by concurrency. ``main`` is the load of the percentiles, and ``curve`` are
    other loads, rising.
    """

    runtime: Runtime
    answers: NDArray[np.float32]
    capacity: dict[int, float]
    main: Load
    curve: tuple[Load, ...]
    percentiles: dict[int, Percentile]
    speeds: Speeds


def measure_served(
    model: Path, runtime: Runtime, contents: Sequence[bytes], is_text: bool, plan: ServingPlan
) -> Served:
    """Measure a runtime with the same program and folder that serve the model.

    The sample is scored once, in order, which also warms up; these requests are not timed.

    Args:
        model: The folder of the model, without the runtime.
        runtime: The runtime to measure.
        contents: The contents of the sample, one or more.
        is_text: True if the contents are texts.
        plan: The options of the measurement.

    Raises:
        BlocksError: The program did not become ready, or left requests unanswered.
        ValueError: The program did not answer an item of the sample.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        provenance = Provenance("check_latency", {}, (), "0" * 64, "0" * 64, "", "")
        copy_with_runtime(model, begin_folder(folder, provenance), runtime)
        finish_folder(folder, "model", format_of(model), provenance)
        with serving(folder, is_text, "check_latency") as server:
            answers = np.stack([server.score(content) for content in contents])
            return _measured(server, runtime, contents, answers, plan)


def _measured(
    server: Server,
    runtime: Runtime,
    contents: Sequence[bytes],
    answers: NDArray[np.float32],
    plan: ServingPlan,
) -> Served:
    def send(number: int) -> None:
        server.score(contents[number % len(contents)])

    share_s = plan.seconds / len(plan.concurrency)
    capacity = {each: closed_loop(send, each, share_s) for each in plan.concurrency}
    most = max(capacity.values())
    main = open_loop(send, plan.per_s or USUAL_SHARE * most, plan.requests)
    if main.failed:
        raise BlocksError(
            "check_latency",
            f"runtime {runtime.name}",
            f"{main.failed} of {plan.requests} requests were not answered",
            "",
            "Run `tfhub-blocks serve MODEL`, send a request, and read the log",
        )
    few = max(plan.requests // 10, 20)
    curve = tuple(open_loop(send, share * most, few) for share in SHARES)
    found = {each: percentile(main.latencies_ms, each) for each in PERCENTILES}
    speeds = Speeds(
        p50_ms=found[50].value,
        p95_ms=found[95].value,
        p99_ms=found[99].value,
        items_per_s=most,
        cold_start_s=server.cold_start_s,
        memory_mb=server.memory_mb,
    )
    return Served(runtime, answers, capacity, main, curve, found, speeds)
