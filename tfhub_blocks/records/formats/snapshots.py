"""A snapshot: an immutable, content-addressed copy of a data set with deterministic splits."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Folder, Format, open_folder
from tfhub_blocks.records.base.shards import SHARD_BYTES, ShardWriter, read_batches

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
# What ``items.arrow`` holds of each item, in the same order: all but the contents.
INDEX_SCHEMA = pa.schema([field for field in ITEM_SCHEMA if field.name != "content"])
# Where each item was found; one row a place, so a duplicate has several.
SOURCES_SCHEMA = pa.schema([("id", pa.string()), ("path", pa.string())])
REJECTED_SCHEMA = pa.schema(
    [("path", pa.string()), ("label", pa.string()), ("reason", pa.string())]
)


@dataclass(frozen=True)
class SnapshotManifest:
    """What a snapshot holds.

    ``digest`` is over contents, labels and splits alone: file order, names and times do not
    change it. ``counts`` is items by split and label; ``shard_rows`` the items of each of
    ``shards``; ``attribution`` what the source says of its licence, to be named wherever items are
    shown.
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

    def write(self, folder: Path) -> None:
        """Write it into the snapshot's folder."""
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
    """Writes items in order of their ids (``ITEM_SCHEMA``), and the index beside their shards."""

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
    """A finished snapshot, opened for reading."""

    folder: Folder
    manifest: SnapshotManifest

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The items in the order of their ids, in batches of a few MiB (``ITEM_SCHEMA``)."""
        return read_batches(self.folder, self.manifest.shards, columns)

    def items(self) -> Iterator[SnapshotItem]:
        """Yield all items in the order of their ids. Memory does not grow with their number."""
        for batch in self.batches():
            columns = (batch[name].to_pylist() for name in ITEM_SCHEMA.names)
            yield from map(SnapshotItem, *columns)

    def index(self) -> pa.Table:
        """Id, label and split of all items in order (``INDEX_SCHEMA``), memory-mapped."""
        with pa.memory_map(str(self.folder.file(INDEX_NAME))) as source:
            return pa.ipc.open_file(source).read_all()

    def targets(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The indices of labels in the manifest, [n], of items by their positions."""
        numbers = {label: number for number, label in enumerate(self.manifest.labels)}
        labels = self.index()["label"].combine_chunks().dictionary_encode()
        of_code = np.array([numbers[label] for label in labels.dictionary.to_pylist()], np.int64)
        chosen: NDArray[np.int64] = of_code[labels.indices.to_numpy()[rows]]
        return chosen

    def contents(self, rows: NDArray[np.int64]) -> Iterator[tuple[str, bytes]]:
        """Id and content of some items, by their rising positions in the snapshot.

        Only these items are read, so a worker reads its share alone; the id, which is the digest of
        the content, is what each is checked against.

        Raises:
            BlocksError: A shard is gone or cut short, or a content is not that of its id.
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
                    raise self._damage(name, f"item {item} has another content")
                yield item, content

    def _read(self, name: str, rows: NDArray[np.int64]) -> Iterator[bytes]:
        """The contents at some rising positions in one shard."""
        if not len(rows):
            return
        try:
            with pa.memory_map(str(self.folder.path / name)) as source:
                reader = pa.ipc.open_file(source)
                start = 0
                for index in range(reader.num_record_batches):
                    batch = reader.get_batch(index).select(["content"])
                    here = rows[(rows >= start) & (rows < start + batch.num_rows)] - start
                    start += batch.num_rows
                    if len(here):
                        batch.validate(full=True)  # nothing points out of it
                        yield from (batch["content"][int(row)].as_py() for row in here)
        except (OSError, pa.ArrowInvalid) as error:
            raise self._damage(name, f"it cannot be read ({error})") from error

    def _damage(self, name: str, problem: str) -> BlocksError:
        return BlocksError(
            f"snapshot {self.folder.path}",
            name,
            problem,
            "what snapshot_data wrote",
            "this folder was changed or damaged after it was made: make or fetch it again",
        )


def open_snapshot(path: Path, where: str = "open_snapshot") -> Snapshot:
    """A finished snapshot.

    Raises:
        BlocksError: The folder is no finished snapshot, or its manifest was changed.
    """
    folder = open_folder(path, SNAPSHOT, where)
    record = json.loads(folder.file(MANIFEST_NAME).read_text(encoding="utf-8"))
    sequences = {key: tuple(record[key]) for key in ("labels", "shards", "shard_rows", "warnings")}
    return Snapshot(folder, SnapshotManifest(**record | sequences))
