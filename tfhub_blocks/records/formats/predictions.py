"""Predictions: a model's answer for each row of the scored data, in Parquet shards."""

# decision 40

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from tfhub_blocks.records.base.folders import Folder, Format, open_folder
from tfhub_blocks.records.base.parquet_bounds import read_groups
from tfhub_blocks.records.base.shards import SHARD_BYTES, SHARDS_FOLDER

FORMAT = Format("predictions", 1)
MANIFEST_NAME, SUMMARY_NAME = "manifest.json", "summary.json"
# The size of a row group, which a reader loads at once.
GROUP_ROWS, GROUP_BYTES = 65536, 32 * 2**20

# The columns of an answer; all are null in the row of an unreadable item.
LABEL, PROBABILITY = pa.field("label", pa.string()), pa.field("probability", pa.float32())
ALL = pa.field("probabilities", pa.list_(pa.float32()))
TOP = (
    pa.field("top_labels", pa.list_(pa.string())),
    pa.field("top_probabilities", pa.list_(pa.float32())),
)
# The encoder's features, for a later comparison of items without a forward pass.
VECTOR = pa.field("vector", pa.list_(pa.float16()))


def answer_schema(top_k: int | None, keep_features: bool = False) -> pa.Schema:
    """Return the columns of an answer: all probabilities in the order of labels, or the largest.

    With ``keep_features``, an answer has all probabilities in any case, and ``vector``.
    """
    columns = [LABEL, PROBABILITY, *(TOP if top_k else [ALL])]
    if keep_features:
        columns += [*([ALL] if top_k else []), VECTOR]
    return pa.schema(columns)


def predictions_schema(top_k: int | None, keep_features: bool = False) -> pa.Schema:
    """Return the schema: ``path``, ``id``, the answer or the ``error``, and ``model_version``.

    ``path`` is the item's path in the data. ``id`` is the SHA-256 of the content, or null if the
    content could not be read. With ``keep_features``, the answer contains the features.
    """
    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False),
            pa.field("id", pa.string()),
            *answer_schema(top_k, keep_features),
            pa.field("error", pa.string()),
            pa.field("model_version", pa.string(), nullable=False),
        ]
    )


@dataclass(frozen=True)
class PredictionManifest:
    """The content of a predictions folder, and the facts that identify each prediction.

    ``model_version`` is the model's NAME:VERSION in the registry, or its digest; each row contains
    it. ``engine`` is the kind of engine, ``precision`` the precision of products. ``scored`` is the
    number of contents that this run computed; the answers to the others were known. ``dimension``
    is the length of each item's features, or 0 if the folder contains no features.
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
    dimension: int = 0

    def write(self, folder: Path) -> None:
        """Write the manifest into the predictions' folder."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Predictions:
    """A finished predictions folder, opened for reading.

    Example::

        predictions = open_predictions(path, "my_step")
        for batch in predictions.batches(["path", "label"]):
            print(batch.to_pylist())
    """

    folder: Folder
    manifest: PredictionManifest

    def files(self) -> Iterator[Path]:
        """Yield the paths of the shards in order; each shard is checked when it is reached."""
        return (self.folder.file(name) for name in self.manifest.shards)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows in the order of the data (``predictions_schema``)."""
        for path in self.files():
            for table in read_groups(path, columns):
                yield from table.to_batches()


def open_predictions(path: Path, where: str) -> Predictions:
    """Open a finished predictions folder.

    Raises:
        BlocksError: The folder does not contain finished predictions, or its manifest was changed.
    """
    folder = open_folder(path, FORMAT, where)
    record = json.loads(folder.file(MANIFEST_NAME).read_text(encoding="utf-8"))
    sequences = {key: tuple(record[key]) for key in ("labels", "shards")}
    return Predictions(folder, PredictionManifest(**record | sequences))


class PredictionWriter:
    """A writer of tables to ``shards/00000.parquet`` and so on, in row groups of bounded size.

    Only rows and bytes decide where groups and shards end, so equal rows in equal tables give
    equal files. Each file contains ``facts``, for readers that have only this file. Example::

        with PredictionWriter(folder, predictions_schema(None), {"model": "animals:3"}) as writer:
            writer.write(table)
    """

    def __init__(self, folder: Path, schema: pa.Schema, facts: dict[str, Any]) -> None:
        self.names: list[str] = []
        self.rows = 0
        texts = {key: json.dumps(value, ensure_ascii=False) for key, value in facts.items()}
        self._schema = schema.with_metadata(texts)
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
        """Write the remaining rows, and finish the open shard."""
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
