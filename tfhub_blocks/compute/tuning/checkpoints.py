"""Checkpoints: all that a training needs to go on as if nothing had happened."""

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
    """Groups of arrays, and a record of plain values."""

    arrays: Mapping[str, Sequence[NDArray[Any]]]
    record: Mapping[str, Any]


def write_checkpoint(folder: Path, identity: str, checkpoint: Checkpoint) -> None:
    """Keep a checkpoint in place of the one before; a kill leaves either of them whole.

    Args:
        folder: Where it is kept.
        identity: Says of which work it is.
        checkpoint: What to keep.
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
    """The checkpoint of this work, or None."""
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
    """Whether the process was asked to end."""

    asked = False

    def ask(self, _number: int, _frame: FrameType | None) -> None:
        """Note it, as a signal's handler."""
        self.asked = True


@contextmanager
def noted_preemption() -> Iterator[Preemption]:
    """Note SIGTERM in place of ending by it, so that a checkpoint can be written first.

    Nodes that are taken away send it some 30 s before they kill.
    """
    preemption = Preemption()
    before = signal.signal(signal.SIGTERM, preemption.ask)
    try:
        yield preemption
    finally:
        signal.signal(signal.SIGTERM, before)
