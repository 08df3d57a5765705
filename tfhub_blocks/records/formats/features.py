"""Features: a frozen encoder's output for each item of a snapshot.

Activations, the output of an encoder's lower part, have the same layout and another format.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Folder, Format, open_folder
from tfhub_blocks.records.base.shards import ShardWriter, read_batches
from tfhub_blocks.records.base.vectors import Ids, SplitRows, Vectors
from tfhub_blocks.records.formats.snapshots import INDEX_SCHEMA, Snapshot

FEATURES = Format("features", 2)
ACTIVATIONS = Format("activations", 1)
MANIFEST_NAME = "manifest.json"
REJECTED_NAME = "rejected.parquet"
# The items without finite features, each with a path at which the snapshot found it.
REJECTED_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "path", "label", "reason")])
SHOWN = 3
DTYPES = {"float32": pa.float32(), "float16": pa.float16()}


def vector_field(dimension: int, dtype: str) -> pa.Field:
    """Return the column ``vector``: [dimension] of one of ``DTYPES``."""
    return pa.field("vector", pa.list_(DTYPES[dtype], dimension), nullable=False)


def features_schema(dimension: int, dtype: str) -> pa.Schema:
    """Return the schema: id, label and split as in the snapshot, and ``vector``."""
    return pa.schema([*INDEX_SCHEMA, vector_field(dimension, dtype)])


def vector_column(vectors: NDArray[np.floating]) -> pa.FixedSizeListArray:
    """Convert vectors, [n, dimension], to a column of their dtype."""
    return pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])


def vectors_of(column: pa.FixedSizeListArray) -> NDArray[np.floating]:
    """Return a column of vectors as an array, [n, dimension], without a copy."""
    values: NDArray[np.floating] = column.flatten().to_numpy()
    return values.reshape(len(column), column.type.list_size)


def ids_of(column: pa.StringArray) -> NDArray[np.bytes_]:
    """Return ids as an array that can be compared and searched."""
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype="S64")


def check_rising(ids: NDArray[np.bytes_], last: bytes, where: str) -> bytes:
    """Check that ids rise, beginning after the id ``last``; return the last of them.

    Raises:
        BlocksError: An id does not rise; the error names the item.
    """
    before = np.concatenate([np.array([last], "S64"), ids[:-1]])
    wrong = np.flatnonzero(ids <= before)
    if wrong.size:
        item, other = ids[wrong[0]], before[wrong[0]]
        raise BlocksError(
            where,
            f"item {item.decode()}",
            "the item occurs twice" if item == other else "the item is out of order",
            "each item once, in order of the ids",
            "Run the step that wrote this folder again",
        )
    return bytes(ids[-1])


@dataclass(frozen=True)
class FeatureManifest:
    """The content of a features folder, and the facts that identify each feature.

    ``engine`` is the kind of engine, ``precision`` the precision of products, and ``dtype`` the
    type of the stored numbers.
    """

    items: int
    dimension: int
    labels: tuple[str, ...]
    snapshot_digest: str
    encoder_digest: str
    preprocessing: Mapping[str, Any]
    engine: str
    precision: str
    dtype: str
    shards: tuple[str, ...]
    rejected: int = 0
    """The number of items of the snapshot without finite features (``rejected.parquet``)."""
    warnings: tuple[str, ...] = ()
    """Warnings about the data, for everybody who relies on the features."""

    def write(self, folder: Path) -> None:
        """Write the manifest into the features' folder."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / MANIFEST_NAME).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Features:
    """A finished features folder, opened for reading.

    Example::

        features = open_features(path, "my_step")
        vectors, targets, ids = features.split("train")
    """

    folder: Folder
    manifest: FeatureManifest

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the features in the order of the snapshot (``features_schema``)."""
        return read_batches(self.folder, self.manifest.shards, columns)

    def split(self, name: str) -> tuple[Vectors, NDArray[np.int64], Ids]:
        """Return the vectors [n, dimension], label indices [n] and ids of one split.

        Only the indices are read at once and kept. Vectors and ids are read on demand.

        Raises:
            BlocksError: A shard is missing or has other bytes than its step wrote, or an item has a
                label that the manifest lacks.
        """
        labels = pa.array(self.manifest.labels, pa.string())
        found = [np.empty(0, np.int64)]
        for batch in self.batches(["id", "label", "split"]):
            chosen = batch.filter(pc.equal(batch["split"], name))
            indices = pc.index_in(chosen["label"], value_set=labels)
            if indices.null_count:
                row = indices.is_null().index(True).as_py()
                raise self._fault(
                    f"item {chosen['id'][row]}",
                    f"the item has the label {chosen['label'][row].as_py()!r}",
                    f"one of the {len(labels)} labels of {MANIFEST_NAME}",
                )
            found.append(indices.to_numpy().astype(np.int64))
        targets = np.concatenate(found)
        part = SplitRows(self.folder, self.manifest.shards, name, len(targets))
        return Vectors(part, self.manifest.dimension), targets, Ids(part)

    def check_ids(self) -> None:
        """Check that each item occurs once: a duplicate could be in training and in validation.

        Raises:
            BlocksError: The ids do not rise, or a shard is damaged.
        """
        last = b""
        for batch in self.batches(["id"]):
            last = check_rising(ids_of(batch["id"]), last, self._name)

    @property
    def _name(self) -> str:
        return f"{self.folder.lineage.format} {self.folder.path}"

    def _fault(self, what: str, problem: str, expected: str) -> BlocksError:
        where = self._name
        remedy = "Run the step that wrote this folder again"
        return BlocksError(where, what, problem, expected, remedy)

    def check_encoder(self, digest: str, where: str) -> None:
        """Check that one given encoder computed the features.

        Raises:
            BlocksError: Another encoder computed them.
        """
        if digest != self.manifest.encoder_digest:
            raise BlocksError(
                where,
                "features",
                f"the encoder with digest {self.manifest.encoder_digest} computed the features",
                f"features of the encoder with digest {digest}",
                "Pass the encoder that computed the features, or extract the features again",
            )


def open_features(
    path: Path, where: str = "open_features", expected: Format = FEATURES
) -> Features:
    """Open a finished folder of features, or of activations.

    Raises:
        BlocksError: The folder is unfinished or of another format, or its manifest was changed.
    """
    folder = open_folder(path, expected, where)
    record = json.loads(folder.file(MANIFEST_NAME).read_text(encoding="utf-8"))
    # Features of earlier releases have no warnings.
    names = ("labels", "shards", "warnings")
    sequences = {key: tuple(record.get(key, ())) for key in names}
    return Features(folder, FeatureManifest(**record | sequences))


def write_features(
    folder: Path,
    snapshot: Snapshot,
    vectors: Iterable[NDArray[np.floating]],
    encoder_digest: str,
    dtype: str = "float32",
    preprocessing: Mapping[str, Any] | None = None,
    engine: str = "own",
    precision: str = "float32",
) -> FeatureManifest:
    """Write one vector for each item of a snapshot. Memory does not grow with their number.

    An item whose vector contains a number that is NaN or infinite is left out, and rejected with
    its path and the reason.

    A step of your own calls::

        vectors = (embed([item.content]) for item in snapshot.items())
        write_features(run.begin_output("features", FEATURES), snapshot, vectors, digest)

    Args:
        folder: The empty folder to fill.
        snapshot: The snapshot that the items come from.
        vectors: Blocks of vectors, each [n, dimension], in the order of the snapshot's items.
        encoder_digest: A digest of all that the vectors depend on besides the items; features of
            equal digest can be compared.
        dtype: The type in which vectors are stored, ``float32`` or ``float16``.
        preprocessing: The preparation of items, for the record.
        engine: The kind of engine that computed the vectors.
        precision: The precision of its products.

    Raises:
        BlocksError: There are more or fewer vectors than items, their shapes differ, or no vector
            is finite.
    """
    index, start, dimension = snapshot.index(), 0, 0
    rejected: list[int] = []
    writer: ShardWriter | None = None
    with ExitStack() as stack:
        for block in vectors:
            rows = index.slice(start, len(block))
            if writer is None:
                dimension = block.shape[1]
                schema = features_schema(dimension, dtype)
                writer = stack.enter_context(ShardWriter(folder, schema))
            start += len(block)
            if rows.num_rows < len(block) or block.shape[1] != dimension:
                break
            block = block.astype(dtype, copy=False)
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                rejected += (start - len(block) + np.flatnonzero(~finite)).tolist()
                rows, block = rows.filter(pa.array(finite)), block[finite]
            for batch in rows.combine_chunks().to_batches():
                columns = [*batch.columns, vector_column(block)]
                writer.write(pa.record_batch(columns, schema=schema))
    if writer is None or start != index.num_rows or block.shape[1] != dimension:
        raise BlocksError(
            "write_features",
            "vectors",
            f"vectors of dimension {dimension} were written for {start} "
            f"items, and the snapshot has {index.num_rows}",
            "one vector of the same dimension for each item",
            "Yield the vectors in the order of snapshot.items()",
        )
    warnings = _reject(folder, snapshot, index, rejected, dtype)
    manifest = FeatureManifest(
        items=writer.rows,
        dimension=dimension,
        labels=snapshot.manifest.labels,
        snapshot_digest=snapshot.manifest.digest,
        encoder_digest=encoder_digest,
        preprocessing=preprocessing or {},
        engine=engine,
        precision=precision,
        dtype=dtype,
        shards=tuple(writer.names),
        rejected=len(rejected),
        warnings=warnings,
    )
    manifest.write(folder)
    return manifest


def _reject(
    folder: Path, snapshot: Snapshot, index: pa.Table, rows: list[int], dtype: str
) -> tuple[str, ...]:
    """Write the items at some rows to the table of rejected items, and return the warning."""
    if not rows:
        return ()
    chosen = index.take(pa.array(rows))
    reason = f"the encoder returns {dtype} features that are NaN or infinite"
    if len(rows) == index.num_rows:
        raise BlocksError(
            "write_features",
            f"item {chosen['id'][0].as_py()}",
            f"{reason}, as for each of the {len(rows)} items",
            "",
            "Check the range in the encoder's pin, or set a dtype with larger numbers than "
            f"{dtype}",
        )
    labels = dict(zip(chosen["id"].to_pylist(), chosen["label"].to_pylist(), strict=True))
    places = snapshot.places(labels)
    table = [
        {"id": item, "path": path, "label": label, "reason": reason}
        for item, label in labels.items()
        for path in places.get(item, [""])
    ]
    pq.write_table(pa.Table.from_pylist(table, REJECTED_SCHEMA), folder / REJECTED_NAME)
    shown = ", ".join(row["path"] or row["id"] for row in table[:SHOWN])
    more = f" and {len(table) - SHOWN} more" if len(table) > SHOWN else ""
    items = "1 item was" if len(rows) == 1 else f"{len(rows)} items were"
    return (f"{items} rejected: {reason} ({shown}{more})",)
