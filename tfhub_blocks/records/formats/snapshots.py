"""Snapshots: immutable, content-addressed copies of data sets with deterministic splits."""

# decision 15

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tfhub_blocks.records.base.arrow_bounds import open_arrow
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Folder, Format, open_folder
from tfhub_blocks.records.base.parquet_bounds import read_bounded
from tfhub_blocks.records.base.shards import SHARD_BYTES, ShardWriter, read_batches
from tfhub_blocks.records.formats.twins import read_twins

SNAPSHOT = Format("snapshot", 2)
MANIFEST_NAME = "manifest.json"
INDEX_NAME = "items.arrow"
REJECTED_NAME = "rejected.parquet"
SOURCES_NAME = "sources.parquet"

SPLITS = ("train", "validation", "test")

# ``id`` is the SHA-256 of ``content`` in hexadecimal; text is UTF-8.
ITEM_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("content", pa.binary(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
    ]
)
# ``items.arrow`` contains all columns but the contents, in the same order of items.
INDEX_SCHEMA = pa.schema([field for field in ITEM_SCHEMA if field.name != "content"])
# The paths at which each item was found; a duplicate has several rows.
SOURCES_SCHEMA = pa.schema([("id", pa.string()), ("path", pa.string())])
REJECTED_SCHEMA = pa.schema(
    [("path", pa.string()), ("label", pa.string()), ("reason", pa.string())]
)


@dataclass(frozen=True)
class SnapshotManifest:
    """The content of a snapshot.

    ``digest`` covers contents, labels and splits only: file order, names and times do not change
    it. ``counts`` contains numbers of items by split and label, ``shard_rows`` the number of items
    in each of ``shards``. ``attribution`` is the licence notice of the source, which must be shown
    with the items.
    """

    digest: str
    modality: str
    items: int
    labels: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    split_rule: Mapping[str, Any]
    shards: tuple[str, ...]
    shard_rows: tuple[int, ...]
    duplicates: int
    rejected: int
    warnings: tuple[str, ...]
    attribution: str = ""

    def summary(self) -> str:
        """Return one line for users: items, classes, splits, rejected files and the digest."""
        sizes = (f"{split} {sum(of.values())}" for split, of in self.counts.items())
        return (
            f"{self.items} {self.modality} items of {len(self.labels)} classes: "
            f"{', '.join(sizes)}; {self.duplicates} duplicates, {self.rejected} rejected; "
            f"digest {self.digest}"
        )

    def write(self, folder: Path) -> None:
        """Write the manifest into the snapshot's folder."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class SnapshotItem:
    """One item of a snapshot. ``id`` is the SHA-256 of ``content`` in hexadecimal."""

    id: str
    content: bytes
    label: str
    split: str


class ItemWriter(ShardWriter):
    """A writer of items in order of their ids (``ITEM_SCHEMA``), with an index next to the shards.

    Example::

        with ItemWriter(folder) as writer:
            writer.write(batch)
    """

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
        super().__init__(folder, ITEM_SCHEMA, shard_bytes)
        self._index = pa.ipc.new_file(str(folder / INDEX_NAME), INDEX_SCHEMA)

    def write(self, batch: pa.RecordBatch) -> None:
        """Append one batch."""
        super().write(batch)
        self._index.write_batch(batch.select(INDEX_SCHEMA.names))

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._index.close()


@dataclass(frozen=True)
class Snapshot:
    """A finished snapshot, opened for reading.

    Example::

        snapshot = open_snapshot(path, "my_step")
        for batch in snapshot.batches(["id", "content", "label"]):
            print(batch.num_rows)
    """

    folder: Folder
    manifest: SnapshotManifest

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the items in the order of their ids, in batches of a few MiB (``ITEM_SCHEMA``)."""
        return read_batches(self.folder, self.manifest.shards, columns)

    def items(self) -> Iterator[SnapshotItem]:
        """Yield all items in the order of their ids. Memory does not grow with their number."""
        for batch in self.batches():
            columns = (batch[name].to_pylist() for name in ITEM_SCHEMA.names)
            yield from map(SnapshotItem, *columns)

    def index(self) -> pa.Table:
        """Return id, label and split of all items in order (``INDEX_SCHEMA``), memory-mapped."""
        path = self.folder.file(INDEX_NAME)
        with pa.memory_map(str(path)) as source:
            return open_arrow(source, path).read_all()

    def twins(self) -> frozenset[str]:
        """Return the ids of test items that have a near duplicate in training or validation."""
        return frozenset(read_twins(self.folder))

    def places(self, ids: Iterable[str]) -> dict[str, list[str]]:
        """Return the paths at which the source had some items, by their ids."""
        if SOURCES_NAME not in self.folder.lineage.files:
            return {}
        wanted = pa.array(ids, pa.string())
        table = read_bounded(self.folder.file(SOURCES_NAME))
        table = table.filter(pc.is_in(table["id"], value_set=wanted))
        found: dict[str, list[str]] = {}
        for item, path in zip(table["id"].to_pylist(), table["path"].to_pylist(), strict=True):
            found.setdefault(item, []).append(path)
        return found

    def targets(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the label indices, [n], of the items at some positions."""
        numbers = {label: number for number, label in enumerate(self.manifest.labels)}
        labels = self.index()["label"].combine_chunks().dictionary_encode()
        of_code = np.array([numbers[label] for label in labels.dictionary.to_pylist()], np.int64)
        chosen: NDArray[np.int64] = of_code[labels.indices.to_numpy()[rows]]
        return chosen

    def contents(self, rows: NDArray[np.int64]) -> Iterator[tuple[str, bytes]]:
        """Yield id and content of the items at some rising positions.

        Only these items are read, so a worker reads only its share. Each content is checked against
        its id, which is the digest of the content.

        Raises:
            BlocksError: A shard is missing or truncated, or a content does not match its id.
        """
        ids = self.index()["id"]
        ends = np.cumsum(self.manifest.shard_rows)
        bounds = [0, *np.searchsorted(rows, ends)]
        for name, start, *wanted in zip(
            self.manifest.shards, [0, *ends[:-1]], bounds[:-1], bounds[1:], strict=True
        ):
            chosen = rows[slice(*wanted)]
            for row, content in zip(chosen, self._read(name, chosen - start), strict=True):
                item = ids[int(row)].as_py()
                if hashlib.sha256(content).hexdigest() != item:
                    raise self._damage(name, f"the content of item {item} does not match its id")
                yield item, content

    def _read(self, name: str, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """Yield the contents at some rising positions in one shard."""
        if not len(rows):
            return
        try:
            with pa.memory_map(str(self.folder.path / name)) as source:
                reader = open_arrow(source, self.folder.path / name)
                start = 0
                for index in range(reader.num_record_batches):
                    batch = reader.get_batch(index).select(["content"])
                    here = rows[(rows >= start) & (rows < start + batch.num_rows)] - start
                    start += batch.num_rows
                    if len(here):
                        batch.validate(full=True)  # no offset leaves the buffer
                        yield from (batch["content"][int(row)].as_py() for row in here)
        except (OSError, pa.ArrowInvalid) as error:
            raise self._damage(name, f"file {name} cannot be read ({error})") from error

    def _damage(self, name: str, problem: str) -> BlocksError:
        return BlocksError(
            f"snapshot {self.folder.path}",
            name,
            problem,
            "the file that snapshot_data wrote",
            "The folder was changed or damaged after its step wrote it: run the step again, or "
            "restore the folder from a copy",
        )


def open_snapshot(path: Path, where: str = "open_snapshot") -> Snapshot:
    """Open a finished snapshot.

    Raises:
        BlocksError: The folder is not a finished snapshot, or its manifest was changed.
    """
    folder = open_folder(path, SNAPSHOT, where)
    record = json.loads(folder.file(MANIFEST_NAME).read_text(encoding="utf-8"))
    sequences = {key: tuple(record[key]) for key in ("labels", "shards", "shard_rows", "warnings")}
    return Snapshot(folder, SnapshotManifest(**record | sequences))
