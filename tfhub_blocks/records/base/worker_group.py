"""The workers that share one step: which of them a process is, and that all do the same work.

Azure ML starts the same command on each node of a TensorFlow distribution, and so does the local
engine; by ``TF_CONFIG`` a process knows its place, as TensorFlow's own strategies do.
See https://www.tensorflow.org/guide/distributed_training (TF_CONFIG).
"""

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
# A component says by this tag that it can run on several workers.
TAG, MANY = "workers", "many"
# How long the first worker waits for the others: their nodes start at the same time.
LIMIT_S = 600.0
_POLL_S = 0.2


@dataclass(frozen=True)
class Worker:
    """One of the processes that share a step, counted from 0.

    ``rendezvous`` is the digest of all their addresses, so the same for all of them.
    """

    index: int = 0
    count: int = 1
    rendezvous: str = ""

    @property
    def is_first(self) -> bool:
        """Whether it is the one that assembles what all have made."""
        return self.index == 0

    def takes(self, sha256: str) -> bool:
        """Whether something is in its share, by its digest in hexadecimal.

        Each digest is in the share of exactly one worker, whatever else there is.
        """
        return int(sha256, 16) % self.count == self.index

    def __str__(self) -> str:
        """As it is said to people."""
        return f"worker {self.index} of {self.count} (the first is 0)"


def tf_config(addresses: Sequence[str], index: int) -> str:
    """What ``TF_CONFIG`` is for one of the workers at these addresses."""
    return json.dumps(
        {"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}}
    )


def worker_of_this_process(where: str) -> Worker:
    """The worker that ``TF_CONFIG`` makes of this process; the only one where it is not set.

    Raises:
        BlocksError: It is malformed, or names another kind of task than workers.
    """
    text = os.environ.get(VARIABLE, "").strip()
    try:
        return _parsed(json.loads(text or "{}"))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BlocksError(
            where,
            VARIABLE,
            f"it is {text!r} ({error!r})",
            f"such as {tf_config(['10.0.0.4:2222', '10.0.0.5:2222'], 0)}, workers alone",
            "run it with a TensorFlow distribution without parameter servers, or unset it",
        ) from error


def _parsed(config: Mapping[str, Any]) -> Worker:
    cluster = dict(config.get("cluster", {}))
    if not any(cluster.values()):
        return Worker()
    addresses = cluster.pop("worker")
    task, index = config["task"], int(config["task"]["index"])
    if any(cluster.values()) or task["type"] != "worker" or not isinstance(addresses, list):
        raise ValueError("it is no list of workers alone")
    if not 0 <= index < len(addresses) or len(set(addresses)) < len(addresses):
        raise ValueError(f"there is no worker {index}, or two have one address")
    return Worker(index, len(addresses), record_digest(addresses)[:40])


def gather(
    folder: Path,
    worker: Worker,
    work: Mapping[str, Any],
    where: str,
    limit_s: float = LIMIT_S,
) -> None:
    """See that all workers do the same work; the first one waits for the others.

    Each says in a folder that all share what it does. Those of other inputs would write their
    parts elsewhere, and nobody would ever find them.

    Args:
        folder: An output folder of the step.
        worker: Which of them this process is.
        work: What it does: ``Provenance.work``.
        where: The step's name.
        limit_s: How long to wait.

    Raises:
        BlocksError: This is the first, and one did not come in time, or does other work.
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
        # Else another attempt on the very same nodes would meet those of this one.
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
                f"it did not begin within {limit_s:g} s",
                f"all {worker.count} workers to begin",
                "see its log, and whether its node started; run again: what is complete is kept",
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
                f"its {name} is {found.get(name)}",
                f"{expected.get(name)}, as worker 0 has",
                "let all workers run the same code, environment, inputs and parameters",
            )
