"""Vectors and ids of one split of features. Each use reads the shards again; no copy is kept."""

# decision 19

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tfhub_blocks.records.base.folders import Folder
from tfhub_blocks.records.base.shards import read_batches


@dataclass(frozen=True)
class SplitRows:
    """The rows of one split: their folder and shards, and their number."""

    folder: Folder
    shards: Sequence[str]
    split: str
    items: int

    def batches(self, column: str) -> Iterator[pa.Array]:
        """Yield one column of the split's rows in order, batch by batch.

        One shard is mapped at a time.

        Raises:
            BlocksError: A shard is missing or has other bytes than its step wrote.
        """
        for batch in read_batches(self.folder, self.shards, [column, "split"]):
            chosen = pc.equal(batch["split"], self.split)
            yield (
                batch[column] if chosen.true_count == len(chosen) else batch[column].filter(chosen)
            )


@dataclass(frozen=True)
class Vectors:
    """The vectors of one split. ``np.asarray`` reads them all, float32 [items, dimension]."""

    part: SplitRows
    dimension: int

    @property
    def shape(self) -> tuple[int, int]:
        """The number of items and the dimension."""
        return self.part.items, self.dimension

    def chunks(self, rows: int) -> Iterator[NDArray[np.float32]]:
        """Yield the vectors in order, in chunks of float32 [rows, dimension].

        The last chunk may have fewer rows. Stored float16 vectors are converted.
        """
        left, filled = self.part.items, 0
        chunk = np.empty((min(rows, left), self.dimension), np.float32)
        for column in self.part.batches("vector"):
            vectors = column.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.dimension)
            while len(vectors):
                taken = min(len(vectors), len(chunk) - filled)
                chunk[filled : filled + taken] = vectors[:taken]
                vectors, filled = vectors[taken:], filled + taken
                if filled == len(chunk):
                    yield chunk
                    left, filled = left - filled, 0
                    chunk = np.empty((min(rows, left), self.dimension), np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        whole = next(self.chunks(self.part.items), np.empty((0, self.dimension), np.float32))
        return whole.astype(dtype or np.float32, copy=False)


@dataclass(frozen=True)
class Ids(Sequence[str]):
    """The ids of one split, read on demand: only error messages need them."""

    part: SplitRows

    def __len__(self) -> int:
        return self.part.items

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> Sequence[str]: ...
    def __getitem__(self, row: int | slice) -> str | Sequence[str]:
        """Return the id of one item, or of several."""
        if isinstance(row, int) and row >= 0:
            found = next(islice(self, row, None), None)
            if found is None:
                raise IndexError(row)
            return found
        return list(self)[row]

    def __iter__(self) -> Iterator[str]:
        for column in self.part.batches("id"):
            yield from column.to_pylist()
