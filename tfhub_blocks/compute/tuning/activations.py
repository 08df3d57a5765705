"""Activations: what the frozen lower part of an encoder gives for each item, kept on disk.

They are streamed in another order each epoch, with no more of them in memory than a window.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# An Arrow batch is read as a whole: a few make a window, and their order is shuffled.
CHUNK_BYTES = 2**20
WINDOW_BYTES = 128 * 2**20

Float = NDArray[np.floating]
Integers = NDArray[np.integer]


@dataclass(frozen=True)
class Identity:
    """What decides every activation, besides the code."""

    encoder_digest: str
    snapshot_digest: str
    preprocessing: Mapping[str, Any]
    tensor: str
    shape: tuple[int, ...]
    dtype: Literal["float16", "float32"]

    def as_text(self) -> str:
        """As JSON, the same for the same identity."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, eq=False)
class Activations:
    """The activations of one split, in Arrow shards: row i is of item ids[i], class targets[i].

    However they are kept, they come as float32.
    """

    folder: Path
    shape: tuple[int, ...]
    dtype: str
    chunks: tuple[tuple[str, int], ...]  # shard's name, number of the batch in it
    targets: Integers  # [items], index into the snapshot's labels
    ids: tuple[str, ...]

    def __len__(self) -> int:
        """How many items."""
        return len(self.targets)

    def in_order(self, batch_size: int) -> Iterator[tuple[Float, Integers]]:
        """Batches of activations [n, *shape] and targets [n] in the snapshot's order."""
        for number in range(len(self.chunks)):
            rows, targets = self._read([number])
            for start in range(0, len(rows), batch_size):
                batch = slice(start, start + batch_size)
                yield rows[batch].astype(np.float32), targets[batch]

    def shuffled(
        self, batch_size: int, seed: Sequence[int], window_bytes: int = WINDOW_BYTES
    ) -> Iterator[tuple[Float, Integers]]:
        """Batches of exactly ``batch_size``, in an order that the seed alone decides.

        Chunks come in random order, and items are drawn from a window of several chunks. Up to
        ``batch_size - 1`` items are left out, others for each seed. Memory holds two windows.

        Args:
            batch_size: At most the number of items.
            seed: Numbers, such as those of a run and of an epoch.
            window_bytes: How large a window may be; it has one chunk at least.
        """
        random = np.random.default_rng(seed)
        order = random.permutation(len(self.chunks))
        per_window = max(1, window_bytes // CHUNK_BYTES)
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
        found, positions = [np.empty((0, *self.shape), self.dtype)], [np.empty(0, np.int64)]
        for number in numbers:
            shard, index = self.chunks[number]
            # Not mapped into memory: pages that were read would count as ours.
            with pa.OSFile(str(self.folder / shard)) as source:
                batch = pa.ipc.open_file(source).get_batch(index)
            flat = batch["vector"].flatten().to_numpy(zero_copy_only=False)
            found.append(flat.reshape(-1, *self.shape))
            positions.append(batch["target"].to_numpy())
        return np.concatenate(found), np.concatenate(positions)


def open_activations(folder: Path, shape: tuple[int, ...], dtype: str) -> Activations:
    """The activations in a folder of shards, with their targets and ids read."""
    chunks: list[tuple[str, int]] = []
    targets, ids = [np.empty(0, np.int64)], []
    for path in sorted(folder.glob("shards/*.arrow")):
        # Mapped, so that of each batch only its small columns are read.
        with pa.memory_map(str(path)) as source:
            columns = pa.ipc.IpcReadOptions(included_fields=[0, 1])
            reader = pa.ipc.open_file(source, options=columns)
            for index in range(reader.num_record_batches):
                batch = reader.get_batch(index)
                chunks.append((path.relative_to(folder).as_posix(), index))
                # A copy, for a view would hold the batch.
                targets.append(np.array(batch["target"].to_numpy()))
                ids += batch["id"].to_pylist()
    return Activations(folder, shape, dtype, tuple(chunks), np.concatenate(targets), tuple(ids))
