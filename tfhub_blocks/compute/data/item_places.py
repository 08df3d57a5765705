"""The places of items: their contents on disk, and a few numbers about each place in memory."""

import os
import re
from array import array
from collections.abc import Iterator, Mapping
from itertools import accumulate, repeat
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from tfhub_blocks.compute.data.data_sources import ItemPlace
from tfhub_blocks.compute.data.splitting import order_of_digests
from tfhub_blocks.records.formats.inspections import Tally
from tfhub_blocks.records.formats.snapshots import (
    REJECTED_NAME,
    REJECTED_SCHEMA,
    SOURCES_SCHEMA,
    SPLITS,
)

SPILL_NAME = "contents.spill"
CHUNK_ROWS = 16384
REJECTED_SHOWN = 20
_PARTICULARS = re.compile(r"'[^']*'(, '[^']*')*|(?<![-\w])\d[\d,]*( x \d+)?\b")
NO_SPLIT = -1
NO_GROUP = -1

Indexes = npt.NDArray[np.int64]


class ItemPlaces:
    """The usable places of a source. Contents go to a spill file, which is removed at the end.

    A place needs about 120 bytes of memory, including its path.

    Args:
        folder: A folder for the spill file.
        source: The folder of the source, to read files again in place of a spill file; texts of a
            table are spilled in any case.
        keeps_texts: False if no content of a text will be read.
    """

    def __init__(self, folder: Path, source: Path | None = None, keeps_texts: bool = True) -> None:
        self._source, self._keeps_texts = source, keeps_texts
        self.label_codes: dict[str, int] = {}
        self._ids = bytearray()
        self._labels = array("i")
        self._splits = array("b")
        self._group_codes: dict[str, int] = {}
        self._groups = array("i")
        self._offsets = array("q", [0])
        self._at = 0
        self._odd_paths: dict[int, Path] = {}
        self._paths: list[pa.Array] = []
        self._path_chunk: list[str] = []
        self._spill_path = folder / SPILL_NAME
        self._spill = self._spill_path.open("wb")
        self._contents = self._spill_path.open("rb", buffering=0)

    def add_label(self, label: str) -> int:
        """Return the code of a label, a new code if the label is new."""
        return self.label_codes.setdefault(label, len(self.label_codes))

    def add(self, place: ItemPlace, label: str, item_id: bytes, content: bytes) -> None:
        """Add a place; ``item_id`` has 32 bytes."""
        path, _, split, where, _, group = place
        self._ids += item_id
        codes = self.label_codes
        self._labels.append(codes[label] if label in codes else self.add_label(label))
        self._splits.append(SPLITS.index(split) if split else NO_SPLIT)
        if group is None:
            self._groups.append(NO_GROUP)
        else:
            code = len(self._group_codes)
            self._groups.append(self._group_codes.setdefault(group, code))
        if where.__class__ is bytes and not self._keeps_texts:
            pass
        elif self._source is None or where.__class__ is bytes:
            self._spill.write(content)
            self._at += len(content)
        elif not (file := os.fsdecode(where)).endswith(path):
            # The path is escaped, or lacks a credential that the file's name contains.
            self._odd_paths[len(self._labels) - 1] = Path(file)
        self._offsets.append(self._at)
        self._path_chunk.append(path)
        if len(self._path_chunk) == CHUNK_ROWS:
            self._flush_paths()

    def extend(
        self, paths: list[str], labels: list[str], item_ids: bytes, contents: list[bytes]
    ) -> None:
        """Add places of texts, without splits and groups; all labels have codes already."""
        count = len(paths)
        self._ids += item_ids
        self._labels.extend(map(self.label_codes.__getitem__, labels))
        self._splits.extend(repeat(NO_SPLIT, count))
        self._groups.extend(repeat(NO_GROUP, count))
        if self._keeps_texts:
            self._spill.write(b"".join(contents))
        sizes = map(len, contents)
        self._offsets.extend(accumulate(sizes, initial=self._at + next(sizes)))
        self._at = self._offsets[-1]
        self._path_chunk += paths
        if len(self._path_chunk) >= CHUNK_ROWS:
            self._flush_paths()

    def rename_labels(self, names: Mapping[str, str]) -> None:
        """Give labels other names; labels that get the same name become one."""
        codes = np.frombuffer(self._labels, dtype=np.int32)
        merged: dict[str, int] = {}
        new = [merged.setdefault(names[label], len(merged)) for label in self.label_codes]
        self._labels = array("i", np.array(new, np.int32)[codes].tobytes())
        self.label_codes = merged

    def sort(self) -> None:
        """End the adding of places, and sort the places by id.

        The other methods identify a place by its index in this order.
        """
        self._flush_paths()
        self._spill.flush()
        ids = np.frombuffer(self._ids, dtype="S32")
        # The places of one content stay in the order of the source.
        order = order_of_digests(ids)
        self.ids = ids[order]
        del ids
        self._ids = bytearray()
        self.labels = np.frombuffer(self._labels, dtype=np.int32)[order]
        self.splits = np.frombuffer(self._splits, dtype=np.int8)[order]
        self.groups = np.frombuffer(self._groups, dtype=np.int32)[order]
        offsets = np.frombuffer(self._offsets, dtype=np.int64)
        self._starts, self._sizes = offsets[:-1][order], np.diff(offsets)[order]
        del offsets
        # What was added is not needed any more.
        self._labels, self._groups = array("i"), array("i")
        self._splits, self._offsets = array("b"), array("q")
        paths = pa.concat_arrays(self._paths) if self._paths else pa.array([], pa.large_string())
        self._paths = []
        self._order, self._all_paths = order, paths

    @property
    def added(self) -> Indexes:
        """The number of each place in the order of adding."""
        return self._order

    def id(self, index: int) -> str:
        """Return the item id of a place in hexadecimal."""
        # numpy strips trailing zeros from its byte strings.
        return bytes(self.ids[index]).ljust(32, b"\0").hex()

    def content(self, index: int) -> bytes:
        """Return the content of a place."""
        if self._source is not None and not self._sizes[index]:
            path = self._odd_paths.get(int(self._order[index]))
            return (path or self._source / self.paths(np.array([index]))[0]).read_bytes()
        self._contents.seek(self._starts[index])
        return self._contents.read(self._sizes[index])

    def paths(self, indexes: Indexes) -> list[str]:
        """Return the paths of some places."""
        return list(self._all_paths.take(pa.array(self._order[indexes])).to_pylist())

    def name_hashes(self) -> Indexes:
        """Return Python's hash of each path, in the order of adding."""
        return np.fromiter(map(hash, _values(self._all_paths)), np.int64, len(self._all_paths))

    def write_sources(self, path: Path, indexes: Indexes) -> None:
        """Write the table of item ids and paths for some places."""
        with pq.ParquetWriter(path, SOURCES_SCHEMA, use_dictionary=False) as writer:
            for chunk in _chunks(indexes):
                columns = [[self.id(index) for index in chunk], self.paths(chunk)]
                writer.write_batch(
                    pa.record_batch([pa.array(c) for c in columns], schema=SOURCES_SCHEMA)
                )

    def _flush_paths(self) -> None:
        # Large strings, because all paths together may exceed 2 GiB.
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
    """A writer of the table of rejected places, with their number and the first twenty."""

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self.first: list[str] = []
        self.reasons = Tally()
        self.name_hashes = array("q")
        self._rows: list[tuple[str, str | None, str]] = []
        self._writer = pq.ParquetWriter(folder / REJECTED_NAME, REJECTED_SCHEMA)

    def add(self, path: str, label: str | None, reason: str) -> None:
        """Reject a place."""
        self.count += 1
        if self.count <= REJECTED_SHOWN:
            self.first.append(f"{path}: {reason}")
        self.reasons.add(_general(reason), path)
        self.name_hashes.append(hash(path))
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


def _values(paths: pa.Array) -> Iterator[str]:
    for start in range(0, len(paths), CHUNK_ROWS):
        yield from paths.slice(start, CHUNK_ROWS).to_pylist()


def _general(reason: str) -> str:
    """Return a reason without its numbers and names, so that equal reasons are counted together."""
    return _PARTICULARS.sub("...", reason)


def _chunks(indexes: Indexes) -> Iterator[Indexes]:
    for start in range(0, len(indexes), CHUNK_ROWS):
        yield indexes[start : start + CHUNK_ROWS]
