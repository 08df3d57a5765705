"""Tables in Arrow IPC shards, written in order with bounded memory and read shard by shard."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import pyarrow as pa

from tfhub_blocks.records.base.arrow_bounds import open_arrow
from tfhub_blocks.records.base.folders import Folder

SHARD_BYTES = 128 * 2**20
SHARDS_FOLDER = "shards"


class ShardWriter:
    """A writer of record batches to ``shards/00000.arrow`` and so on, each near ``shard_bytes``.

    A shard ends with the batch that reaches its size, so equal batches give equal shards.
    ``names`` are the shards so far, ``shard_rows`` their numbers of rows. Example::

        with ShardWriter(folder, schema) as writer:
            writer.write(batch)
    """

    def __init__(self, folder: Path, schema: pa.Schema, shard_bytes: int = SHARD_BYTES) -> None:
        self.names: list[str] = []
        self.shard_rows: list[int] = []
        self._folder = folder
        self._schema = schema
        self._shard_bytes = shard_bytes
        self._written_bytes = 0
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        (folder / SHARDS_FOLDER).mkdir(parents=True, exist_ok=True)

    @property
    def rows(self) -> int:
        """The number of rows written so far."""
        return sum(self.shard_rows)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append one batch, as one batch of the shard."""
        if self._writer is None:
            name = f"{SHARDS_FOLDER}/{len(self.names):05d}.arrow"
            self._writer = pa.ipc.new_file(str(self._folder / name), self._schema)
            self._written_bytes = 0
            self.names.append(name)
            self.shard_rows.append(0)
        self._writer.write_batch(batch)
        self.shard_rows[-1] += batch.num_rows
        self._written_bytes += batch.nbytes
        if self._written_bytes >= self._shard_bytes:
            self.close()

    def close(self) -> None:
        """Finish the open shard, if any."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_batches(
    folder: Folder, names: Sequence[str], columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the batches of some shards in order, memory-mapped. Each shard is checked on opening.

    Raises:
        BlocksError: A shard is missing, truncated, has other bytes than its step wrote, or may need
            more memory than its size.
    """
    for name in names:
        path = folder.file(name)
        with pa.memory_map(str(path)) as source:
            reader = open_arrow(source, path)
            for index in range(reader.num_record_batches):
                batch = reader.get_batch(index)
                yield batch.select(list(columns)) if columns else batch
