"""Places where items were found: their contents on disk, a few numbers about each in memory."""

from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tfhub_blocks.compute.data.data_sources import ItemPlace
from tfhub_blocks.records.formats.snapshots import (
    REJECTED_NAME,
    REJECTED_SCHEMA,
    SOURCES_SCHEMA,
    SPLITS,
)

SPILL_NAME = "contents.spill"
CHUNK_ROWS = 16384
REJECTED_SHOWN = 20
NO_SPLIT = -1

Indexes = npt.NDArray[np.int64]


class ItemPlaces:
    """The usable places of a source. Contents go to a spill file, removed at the end.

    A place costs about 120 bytes of memory, its path included.
    """

    def __init__(self, folder: Path) -> None:
        self.label_codes: dict[str, int] = {}
        self._ids = bytearray()
        self._labels = array("i")
        self._splits = array("b")
        self._offsets = array("q", [0])
        self._paths: list[pa.Array] = []
        self._path_chunk: list[str] = []
        self._spill_path = folder / SPILL_NAME
        self._spill = self._spill_path.open("wb")
        self._contents = self._spill_path.open("rb", buffering=0)

    def add_label(self, label: str) -> int:
        """The code of a label, a new one if it was not seen."""
        return self.label_codes.setdefault(label, len(self.label_codes))

    def add(self, place: ItemPlace, label: str, item_id: bytes, content: bytes) -> None:
        """Take in a place; ``item_id`` has 32 bytes."""
        self._ids += item_id
        self._labels.append(self.add_label(label))
        self._splits.append(SPLITS.index(place.split) if place.split else NO_SPLIT)
        self._spill.write(content)
        self._offsets.append(self._offsets[-1] + len(content))
        self._path_chunk.append(place.path)
        if len(self._path_chunk) == CHUNK_ROWS:
            self._flush_paths()

    def sort(self) -> None:
        """End the adding; from here on a place is named by its index in the order of ids."""
        self._flush_paths()
        self._spill.flush()
        ids = np.frombuffer(self._ids, dtype="S32")
        # Stable, so that a content's places stay in the order of the source.
        order = np.argsort(ids, kind="stable")
        self.ids = ids[order]
        self.labels = np.frombuffer(self._labels, dtype=np.int32)[order]
        self.splits = np.frombuffer(self._splits, dtype=np.int8)[order]
        offsets = np.frombuffer(self._offsets, dtype=np.int64)
        self._starts, self._sizes = offsets[:-1][order], np.diff(offsets)[order]
        paths = pa.concat_arrays(self._paths) if self._paths else pa.array([], pa.large_string())
        self._paths = []
        self._order, self._all_paths = order, paths

    def id(self, index: int) -> str:
        """A place's item id in hexadecimal."""
        # numpy strips trailing zeros from its byte strings.
        return bytes(self.ids[index]).ljust(32, b"\0").hex()

    def content(self, index: int) -> bytes:
        """A place's content."""
        self._contents.seek(self._starts[index])
        return self._contents.read(self._sizes[index])

    def paths(self, indexes: Indexes) -> list[str]:
        """The paths of some places."""
        return list(self._all_paths.take(pa.array(self._order[indexes])).to_pylist())

    def write_sources(self, path: Path, indexes: Indexes) -> None:
        """Write the table of where each item was found, for some places."""
        with pq.ParquetWriter(path, SOURCES_SCHEMA, use_dictionary=False) as writer:
            for chunk in _chunks(indexes):
                columns = [[self.id(index) for index in chunk], self.paths(chunk)]
                writer.write_batch(
                    pa.record_batch([pa.array(c) for c in columns], schema=SOURCES_SCHEMA)
                )

    def _flush_paths(self) -> None:
        # Large, because all of them together may outgrow 2 GiB.
        self._paths.append(pa.array(self._path_chunk, pa.large_string()))
        self._path_chunk = []

    def __enter__(self) -> "ItemPlaces":
        return self

    def __exit__(self, *_: object) -> None:
        self._contents.close()
        try:
            self._spill.close()
        finally:
            self._spill_path.unlink()


class RejectedWriter:
    """Writes the table of rejected places; keeps their number and the first twenty."""

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self.first: list[str] = []
        self._rows: list[tuple[str, str | None, str]] = []
        self._writer = pq.ParquetWriter(folder / REJECTED_NAME, REJECTED_SCHEMA)

    def add(self, path: str, label: str | None, reason: str) -> None:
        """Reject a place."""
        self.count += 1
        if self.count <= REJECTED_SHOWN:
            self.first.append(f"{path}: {reason}")
        self._rows.append((path, label, reason))
        if len(self._rows) == CHUNK_ROWS:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._rows, strict=True) if self._rows else ([], [], [])
        batch = pa.record_batch(
            [pa.array(column, pa.string()) for column in columns], schema=REJECTED_SCHEMA
        )
        self._writer.write_batch(batch)
        self._rows = []

    def __enter__(self) -> "RejectedWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._flush()
        self._writer.close()


def _chunks(indexes: Indexes) -> Iterator[Indexes]:
    for start in range(0, len(indexes), CHUNK_ROWS):
        yield indexes[start : start + CHUNK_ROWS]
