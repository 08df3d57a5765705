"""Checkpoints: the complete state from which an interrupted training resumes."""

import io
import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.records.base.folders import write_file

NAME = "checkpoint.npz"
_RECORD = "record"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a training: groups of arrays, and a record of plain values."""

    arrays: Mapping[str, Sequence[NDArray[Any]]]
    record: Mapping[str, Any]


def write_checkpoint(folder: Path, identity: str, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint in a folder.

    If the process is killed, the folder contains the old or the new checkpoint, complete.

    Args:
        folder: The folder of the checkpoint.
        identity: The digest of the work that the checkpoint belongs to.
        checkpoint: The state to write.
    """
    record = json.dumps({"identity": identity, **checkpoint.record})
    named: dict[str, Any] = {
        f"{group}/{number:05d}": array
        for group, arrays in checkpoint.arrays.items()
        for number, array in enumerate(arrays)
    }
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{_RECORD: np.array(record), **named})
    write_file(folder / NAME, buffer.getvalue())


def read_checkpoint(folder: Path, identity: str) -> Checkpoint | None:
    """Return the checkpoint of the work with this identity, or None."""
    path = folder / NAME
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as stored:
        record = json.loads(str(stored[_RECORD]))
        if record.pop("identity") != identity:
            return None
        arrays: dict[str, list[NDArray[Any]]] = {}
        for name in sorted(set(stored.files) - {_RECORD}):
            arrays.setdefault(name.partition("/")[0], []).append(stored[name])
    return Checkpoint(arrays, record)


class Preemption:
    """The state of a preemption: ``asked`` is True after the process got SIGTERM."""

    asked = False

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        """Handle the signal: set ``asked``."""
        self.asked = True


@contextmanager
def noted_preemption() -> Iterator[Preemption]:
    """Record SIGTERM instead of ending, so that a checkpoint can be written first.

    A preempted node gets SIGTERM about 30 s before its processes are killed.
    """
    preemption = Preemption()
    before = signal.signal(signal.SIGTERM, preemption.ask)
    try:
        yield preemption
    finally:
        signal.signal(signal.SIGTERM, before)
