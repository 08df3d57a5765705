"""Predictions: what a model answers for each place of some data, in Parquet shards."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tfhub_blocks.records.base.folders import Folder, Format, open_folder
from tfhub_blocks.records.base.shards import SHARD_BYTES, SHARDS_FOLDER

FORMAT = Format("predictions", 1)
MANIFEST_NAME, SUMMARY_NAME = "manifest.json", "summary.json"
# What a reader takes at once.
GROUP_ROWS, GROUP_BYTES = 65536, 32 * 2**20

# What a model answers of one content; all are null where it has no answer.
LABEL, PROBABILITY = pa.field("label", pa.string()), pa.field("probability", pa.float32())
ALL = pa.field("probabilities", pa.list_(pa.float32()))
TOP = (
    pa.field("top_labels", pa.list_(pa.string())),
    pa.field("top_probabilities", pa.list_(pa.float32())),
)


def answer_schema(top_k: int | None) -> pa.Schema:
    """The columns of an answer: all probabilities in the order of labels, or the largest."""
    return pa.schema([LABEL, PROBABILITY, *(TOP if top_k else [ALL])])


def predictions_schema(top_k: int | None) -> pa.Schema:
    """``path`` in the data, ``id`` of the content, the answer or the ``error``, and the model.

    ``id`` is the SHA-256 of the content, null where there was none to be read.
    """
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("id", pa.string()),
            *answer_schema(top_k),
            pa.field("error", pa.string()),
            pa.field("model_version", pa.string(), nullable=False),
        ]
    )


@dataclass(frozen=True)
class PredictionManifest:
    """What a predictions folder holds, and what identifies each prediction in it.

    ``model_version`` is what rows say of the model: its name and version in the registry, or its
    digest. ``engine`` is the kind of engine, ``precision`` what products were computed in;
    ``scored`` are the contents that this run computed, the others were known.
    """

    rows: int
    scored: int
    unreadable: int
    labels: tuple[str, ...]
    top_k: int | None
    model_digest: str
    model_version: str
    modality: str
    engine: str
    precision: str
    shards: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write it into the predictions' folder."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Predictions:
    """A finished predictions folder, opened for reading."""

    folder: Folder
    manifest: PredictionManifest

    def files(self) -> Iterator[Path]:
        """The shards in order, each checked when it is asked for."""
        return (self.folder.file(name) for name in self.manifest.shards)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in the order of the data (``predictions_schema``)."""
        for path in self.files():
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(columns=columns)


def open_predictions(path: Path, where: str) -> Predictions:
    """A finished predictions folder.

    Raises:
        BlocksError: The folder holds none, or its manifest was changed.
    """
    folder = open_folder(path, FORMAT, where)
    record = json.loads(folder.file(MANIFEST_NAME).read_text(encoding="utf-8"))
    sequences = {key: tuple(record[key]) for key in ("labels", "shards")}
    return Predictions(folder, PredictionManifest(**record | sequences))


class PredictionWriter:
    """Writes tables into ``shards/00000.parquet`` and on, in row groups of a bounded size.

    Groups and shards end by rows and bytes alone, so equal rows in equal tables give equal files.
    ``facts`` stand in each file, for who has only that.
    """

    def __init__(self, folder: Path, schema: pa.Schema, facts: dict[str, Any]) -> None:
        self.names: list[str] = []
        self.rows = 0
        told = {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}
        self._schema = schema.with_metadata(told)
        self._folder = folder
        self._waiting: list[pa.Table] = []
        self._shard_bytes = 0
        self._writer: pq.ParquetWriter | None = None
        (folder / SHARDS_FOLDER).mkdir(parents=True)

    def write(self, table: pa.Table) -> None:
        """Append some rows."""
        self._waiting.append(table)
        self.rows += table.num_rows
        rows = sum(each.num_rows for each in self._waiting)
        if rows >= GROUP_ROWS or sum(each.nbytes for each in self._waiting) >= GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write what waits, and finish the open shard."""
        if self._waiting or not self.names:
            self._flush()
        self._end_shard()

    def _flush(self) -> None:
        if self._writer is None:
            name = f"{SHARDS_FOLDER}/{len(self.names):05d}.parquet"
            self._writer = pq.ParquetWriter(self._folder / name, self._schema)
            self.names.append(name)
        tables = [table.cast(self._schema) for table in self._waiting]
        group = pa.concat_tables(tables or [self._schema.empty_table()])
        self._writer.write_table(group, row_group_size=max(group.num_rows, 1))
        self._shard_bytes += group.nbytes
        self._waiting = []
        if self._shard_bytes >= SHARD_BYTES:
            self._end_shard()

    def _end_shard(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer, self._shard_bytes = None, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self._end_shard()
