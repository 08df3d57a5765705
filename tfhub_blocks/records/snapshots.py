"""A snapshot: an immutable, content-addressed copy of a data set with deterministic splits."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from tfhub_blocks.records.folders import Folder, Format, open_folder
from tfhub_blocks.records.shards import read_batches

FORMAT = Format("snapshot", 1)
MANIFEST_NAME = "manifest.json"
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
# Where each item was found; one row a place, so a duplicate has several.
SOURCES_SCHEMA = pa.schema([("id", pa.string()), ("path", pa.string())])
REJECTED_SCHEMA = pa.schema(
    [("path", pa.string()), ("label", pa.string()), ("reason", pa.string())]
)


@dataclass(frozen=True)
class Manifest:
    """What a snapshot holds.

    ``digest`` is over contents, labels and splits alone: file order, names and times do not
    change it. ``counts`` is items by split and label; ``attribution`` what the source says of its
    licence, to be named wherever items are shown.
    """

    digest: str
    modality: str
    items: int
    labels: tuple[str, ...]
    counts: Mapping[str, Mapping[str, int]]
    split_rule: Mapping[str, Any]
    shards: tuple[str, ...]
    duplicates: int
    rejected: int
    warnings: tuple[str, ...]
    attribution: str = ""

    def write(self, folder: Path) -> None:
        """Write it into the snapshot's folder."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Snapshot:
    """A finished snapshot, opened for reading."""

    folder: Folder
    manifest: Manifest

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The items in the order of their ids, in batches of a few MiB (``ITEM_SCHEMA``)."""
        return read_batches(self.folder, self.manifest.shards, columns)


def open_snapshot(path: Path, where: str) -> Snapshot:
    """A finished snapshot.

    Raises:
        BlocksError: The folder is no finished snapshot, or its manifest was changed.
    """
    folder = open_folder(path, FORMAT, where)
    record = json.loads(folder.file(MANIFEST_NAME).read_text(encoding="utf-8"))
    sequences = {key: tuple(record[key]) for key in ("labels", "shards", "warnings")}
    return Snapshot(folder, Manifest(**record | sequences))
