"""The workers that share one step, and a check that all do the same work.

Azure ML starts the same command on each node of a TensorFlow distribution, and so does the local
engine. A process reads its index from ``TF_CONFIG``, as TensorFlow's strategies do.
See https://www.tensorflow.org/guide/distributed_training (TF_CONFIG).
"""

# decisions 17 and 18

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import WORK_NAME, WORKERS_NAME, write_file

VARIABLE = "TF_CONFIG"
# This tag marks a component that can run on several workers.
TAG, MANY = "workers", "many"
# The time that the first worker waits for the others; their nodes start at the same time.
LIMIT_S = 600.0
_POLL_S = 0.2


@dataclass(frozen=True)
class Worker:
    """One of the processes that share a step, counted from 0.

    ``rendezvous`` is the digest of all addresses, so all workers have the same value.
    """

    index: int = 0
    count: int = 1
    rendezvous: str = ""

    @property
    def is_first(self) -> bool:
        """True for the worker that assembles the parts of all workers."""
        return self.index == 0

    def takes(self, sha256: str) -> bool:
        """Return True if a hexadecimal digest belongs to this worker's share.

        Each digest belongs to the share of exactly one worker.
        """
        return int(sha256, 16) % self.count == self.index

    def __str__(self) -> str:
        """Return the worker's name for messages."""
        return f"worker {self.index} of {self.count} (the first is 0)"


def tf_config(addresses: Sequence[str], index: int) -> str:
    """Return the value of ``TF_CONFIG`` for one of the workers at these addresses."""
    return json.dumps(
        {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}}
    )


def worker_of_this_process(where: str) -> Worker:
    """Return the worker that ``TF_CONFIG`` assigns to this process.

    Without ``TF_CONFIG``, the process is the only worker.

    Raises:
        BlocksError: ``TF_CONFIG`` is malformed, or contains other tasks than workers.
    """
    text = os.environ.get(VARIABLE, "").strip()
    try:
        return _parsed(json.loads(text or "{}"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BlocksError(
            where,
            VARIABLE,
            f"{VARIABLE} is {text!r} ({error!r})",
            f"workers alone, such as {tf_config(['10.0.0.4:2222', '10.0.0.5:2222'], 0)}",
            "Run the step with a TensorFlow distribution without parameter servers, or unset "
            f"{VARIABLE}",
        ) from error


def _parsed(config: Mapping[str, Any]) -> Worker:
    cluster = dict(config.get("cluster", {}))
    if not any(cluster.values()):
        return Worker()
    addresses = cluster.pop("worker")
    task, index = config["task"], int(config["task"]["index"])
    if any(cluster.values()) or task["type"] != "worker" or not isinstance(addresses, list):
        raise ValueError("the cluster is not a list of workers alone")
    if not 0 <= index < len(addresses) or len(set(addresses)) < len(addresses):
        raise ValueError(f"worker {index} does not exist, or two workers have the same address")
    return Worker(index, len(addresses), record_digest(addresses)[:40])


def gather(
    folder: Path,
    worker: Worker,
    work: Mapping[str, Any],
    where: str,
    limit_s: float = LIMIT_S,
) -> None:
    """Check that all workers do the same work. The first worker waits for the others.

    Each worker writes its work into a shared folder. A worker with other inputs would write its
    parts elsewhere, where the first worker never looks.

    Args:
        folder: An output folder of the step.
        worker: The worker that this process is.
        work: The work of this process: ``Provenance.work``.
        where: The name of the step.
        limit_s: The longest wait, in seconds.

    Raises:
        BlocksError: This is the first worker, and another one did not start in time or does other
            work.
    """
    meeting = folder / WORK_NAME / WORKERS_NAME
    place = meeting / worker.rendezvous
    write_file(_announcement(place, worker.index), json.dumps(work).encode())
    if not worker.is_first:
        return
    try:
        _wait(place, worker, where, limit_s)
        for index in range(worker.count):
            found = json.loads(_announcement(place, index).read_text(encoding="utf-8"))
            _compare(found, work, Worker(index, worker.count), where)
    finally:
        # Otherwise another attempt on the same nodes would read the files of this one.
        shutil.rmtree(meeting, ignore_errors=True)


def _announcement(place: Path, index: int) -> Path:
    return place / f"{index}.json"


def _wait(place: Path, worker: Worker, where: str, limit_s: float) -> None:
    limit = time.monotonic() + limit_s
    while missing := [i for i in range(worker.count) if not _announcement(place, i).is_file()]:
        if time.monotonic() > limit:
            raise BlocksError(
                where,
                str(Worker(missing[0], worker.count)),
                f"worker {missing[0]} did not start within {limit_s:g} s",
                f"all {worker.count} workers",
                f"Read the log of worker {missing[0]} and check its node, then run the step again; "
                "finished parts are kept",
            )
        time.sleep(_POLL_S)


def _compare(
    found: Mapping[str, Any], expected: Mapping[str, Any], worker: Worker, where: str
) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise BlocksError(
                where,
                str(worker),
                f"{name} of worker {worker.index} is {found.get(name)}",
                f"{expected.get(name)}, as on worker 0",
                "Start all workers with the same code, environment, inputs and parameters",
            )
