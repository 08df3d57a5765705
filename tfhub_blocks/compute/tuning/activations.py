"""Activations: the outputs of the frozen lower part of an encoder for each item, on disk.

Training streams the activations in another order each epoch. Memory contains at most a window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tfhub_blocks.records.base.arrow_bounds import open_arrow
from tfhub_blocks.records.formats.features import ids_of, vectors_of

# An Arrow batch can only be read completely. A window is a few batches, whose rows are shuffled.
WINDOW_BYTES = 128 * 2**20

Float = NDArray[np.floating]
Integers = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Chunk:
    """An Arrow batch: its file, its number in the file, and the rows to use."""

    path: Path
    number: int
    rows: Integers  # [n], rising
    targets: Integers  # [n]


@dataclass(frozen=True, eq=False)
class Activations:
    """The activations of one split, in Arrow files: row i is of item ids[i], class targets[i].

    Activations are returned as float32, also if ``dtype``, the type on disk, is another.
    """

    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[Chunk, ...]
    targets: Integers  # [items], index into the snapshot's labels
    ids: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.targets)

    def in_order(self, batch_size: int) -> Iterator[tuple[Float, Integers]]:
        """Yield batches of activations [n, *shape] and targets [n] in the snapshot's order."""
        for number in range(len(self.chunks)):
            rows, targets = self._read([number])
            for start in range(0, len(rows), batch_size):
                batch = slice(start, start + batch_size)
                yield rows[batch].astype(np.float32), targets[batch]

    def shuffled(
        self, batch_size: int, seed: Sequence[int], window_bytes: int = WINDOW_BYTES
    ) -> Iterator[tuple[Float, Integers]]:
        """Yield batches of exactly ``batch_size``, in an order that depends on the seed alone.

        Chunks are read in random order, and items are sampled from a window of several chunks. Up
        to ``batch_size - 1`` items are left out, others for each seed. Memory contains two windows.

        Args:
            batch_size: At most the number of items.
            seed: Numbers, such as the seed of a run and the number of an epoch.
            window_bytes: The size limit of a window, which has at least one chunk.
        """
        random = np.random.default_rng(seed)
        order = random.permutation(len(self.chunks))
        row_bytes = prod(self.shape) * np.dtype(self.dtype).itemsize
        per_chunk = max((len(chunk.rows) for chunk in self.chunks), default=1) * row_bytes
        per_window = max(1, window_bytes // per_chunk)
        rows, targets = self._read([])
        for start in range(0, len(order), per_window):
            more = self._read(order[start : start + per_window])
            rows, targets = (np.concatenate(p) for p in zip((rows, targets), more, strict=True))
            del more
            mixed = random.permutation(len(rows))
            whole = len(mixed) - len(mixed) % batch_size
            for first in range(0, whole, batch_size):
                drawn = mixed[first : first + batch_size]
                yield rows[drawn].astype(np.float32), targets[drawn]
            rows, targets = rows[mixed[whole:]], targets[mixed[whole:]]

    def _read(self, numbers: Sequence[int] | Integers) -> tuple[Float, Integers]:
        found = [np.empty((0, *self.shape), self.dtype)]
        targets: list[Integers] = [np.empty(0, np.int64)]
        for number in numbers:
            chunk = self.chunks[number]
            # Not mapped into memory: the pages read would count as memory of this process.
            with pa.OSFile(str(chunk.path)) as source:
                batch = pa.ipc.open_file(source).get_batch(chunk.number)
            rows = vectors_of(batch["vector"])
            chosen = rows if len(chunk.rows) == len(rows) else rows[chunk.rows]
            found.append(chosen.reshape(-1, *self.shape))
            targets.append(chunk.targets)
        return np.concatenate(found), np.concatenate(targets)


def stored_ids(paths: Sequence[Path]) -> NDArray[np.bytes_]:
    """Return the ids in some files, in order. Nothing else is read."""
    found = [np.empty(0, "S64")]
    for path in paths:
        with pa.memory_map(str(path)) as source:
            reader = open_arrow(source, path, pa.ipc.IpcReadOptions(included_fields=[0]))
            numbers = range(reader.num_record_batches)
            found += [ids_of(reader.get_batch(number)["id"]) for number in numbers]
    return np.concatenate(found)


def open_activations(
    paths: Sequence[Path],
    shape: tuple[int, ...],
    dtype: str,
    targets: Integers,
    chosen: NDArray[np.bool_],
) -> Activations:
    """Return the chosen activations of some files, in order. Only ids are read.

    Args:
        paths: Arrow files with columns ``id`` and ``vector``.
        shape: The shape of an item's activation.
        dtype: The type of the activations in the files.
        targets: The class of each row, over all files in order.
        chosen: True for each row to use, over all files in order.
    """
    chunks: list[Chunk] = []
    ids: list[str] = []
    start = 0
    for path in paths:
        # Mapped, so that only the ids of each batch are read.
        with pa.memory_map(str(path)) as source:
            reader = open_arrow(source, path, pa.ipc.IpcReadOptions(included_fields=[0]))
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                rows = np.flatnonzero(chosen[start : start + batch.num_rows])
                if rows.size:
                    chunks.append(Chunk(path, number, rows, targets[start + rows]))
                    ids += batch["id"].take(pa.array(rows)).to_pylist()
                start += batch.num_rows
    return Activations(shape, dtype, tuple(chunks), targets[chosen], tuple(ids))
