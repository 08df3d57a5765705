"""Parts: finished work, kept next to an unfinished output until the output is complete."""

# decisions 15, 17, 89 and 94

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tfhub_blocks.records.base.arrow_bounds import open_arrow
from tfhub_blocks.records.base.digests import copy_file, file_sha256
from tfhub_blocks.records.base.node_disk import scratch_folder
from tfhub_blocks.records.formats.features import vector_column, vector_field, vectors_of

POLL_S = 0.2
# The size of an Arrow batch, which readers load at once.
BATCH_BYTES = 2**20

IdsAndVectors = tuple[list[str], NDArray[np.floating]]


@dataclass(frozen=True)
class PartFiles:
    """A folder of numbered parts, shared by all workers of a step.

    The name of a part contains the digest of its bytes, so a truncated or changed file is no part.
    A part exists once its marker does, in a folder next to the parts. No worker looks at a part
    before: on a mount of Azure, a node that has seen an unfinished file reads it as empty from then
    on, even in a listing. For the same reason each writing has a name of its own.
    """

    folder: Path

    @property
    def _markers(self) -> Path:
        """The folder with an empty file for each finished part, of the part's name."""
        return self.folder.with_name(f"{self.folder.name}-ready")

    def write_batches(
        self, number: int, schema: pa.Schema, batches: Iterable[pa.RecordBatch]
    ) -> None:
        """Write a part. The part is complete or absent."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._markers.mkdir(parents=True, exist_ok=True)
        scratch = scratch_folder(self.folder)
        scratch.mkdir(parents=True, exist_ok=True)
        partial = scratch / f".{number:06d}.partial"
        with pa.ipc.new_file(str(partial), schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        name = f"{number:06d}-{file_sha256(partial)}-{uuid.uuid4().hex[:8]}"
        part = self.folder / f"{name}.arrow"
        if scratch == self.folder:
            partial.rename(part)
        else:  # A truncated copy has another digest than its name, so it is no part.
            copy_file(partial, part)
            partial.unlink()
        (self._markers / name).touch()

    def count(self) -> int:
        """Return the number of parts, without checking their bytes."""
        return sum(1 for _ in self._markers.glob("*"))

    def find(self, number: int) -> Path | None:
        """Return the file of a part, every byte checked, or None without an undamaged one."""
        for path in self._written(number):
            if path.is_file() and file_sha256(path) == path.stem.split("-")[1]:
                return path
        return None

    def drop(self, number: int) -> None:
        """Remove a part of this worker's own share, damaged files too."""
        for path in self._written(number):
            (self._markers / path.stem).unlink(missing_ok=True)
            path.unlink(missing_ok=True)

    def _written(self, number: int) -> list[Path]:
        return [
            self.folder / f"{marker.name}.arrow"
            for marker in sorted(self._markers.glob(f"{number:06d}-*"))
        ]

    def wait(self, number: int, on_wait: Callable[[int], None] = lambda _: None) -> Path:
        """Wait until a worker has written a part, and return its file.

        Until then ``on_wait`` is called repeatedly with the number of parts.
        """
        while (path := self.find(number)) is None:
            on_wait(self.count())
            time.sleep(POLL_S)
        return path

    def table(self, number: int, on_wait: Callable[[int], None] = lambda _: None) -> pa.Table:
        """Wait for a part, and return its rows, memory-mapped."""
        path = self.wait(number, on_wait)
        with pa.memory_map(str(path)) as source:
            return open_arrow(source, path).read_all()


@dataclass(frozen=True)
class Parts(PartFiles):
    """Parts with ids and vectors."""

    dimension: int
    dtype: str

    def write(self, number: int, batches: Iterable[IdsAndVectors]) -> None:
        """Write a part. The part is complete or absent."""
        fields = [
            pa.field("id", pa.string(), nullable=False),
            vector_field(self.dimension, self.dtype),
        ]
        schema = pa.schema(fields)
        arrays = ([pa.array(ids), vector_column(vectors)] for ids, vectors in _joined(batches))
        record_batches = (pa.record_batch(columns, schema=schema) for columns in arrays)
        self.write_batches(number, schema, record_batches)

    def read(self, number: int, on_wait: Callable[[int], None] = lambda _: None) -> IdsAndVectors:
        """Wait for a part, and return its ids and vectors, [n, dimension]."""
        table = self.table(number, on_wait)
        ids = table["id"].to_pylist()
        return ids, np.concatenate([vectors_of(chunk) for chunk in table["vector"].chunks])


def _joined(batches: Iterable[IdsAndVectors]) -> Iterator[IdsAndVectors]:
    """Join batches to batches of about ``BATCH_BYTES`` each."""
    ids: list[str] = []
    joined: list[NDArray[np.floating]] = []
    for some, vectors in batches:
        ids += some
        joined.append(vectors)
        if sum(each.nbytes for each in joined) >= BATCH_BYTES:
            yield ids, np.concatenate(joined)
            ids, joined = [], []
    if joined:
        yield ids, np.concatenate(joined)
