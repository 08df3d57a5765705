"""Features: a frozen encoder applied to each item of a snapshot."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfhub_blocks.compute.encoders import Encoder
from tfhub_blocks.compute.runtime import core_count, tf
from tfhub_blocks.compute.saved_objects import first_line
from tfhub_blocks.records.errors import BlocksError
from tfhub_blocks.records.features import Manifest, features_schema
from tfhub_blocks.records.shards import ShardWriter
from tfhub_blocks.records.snapshots import Snapshot

WHERE = "extract_features"
# Larger batches leave a core's cache; on a GPU they do not.
CPU_BATCH_SIZE = 8
# Rows of one Arrow batch of the output.
ROWS_PER_WRITE = 1024


def extract(
    snapshot: Snapshot,
    encoder: Encoder,
    folder: Path,
    batch_size: int,
    progress: Callable[[int, int], None],
) -> Manifest:
    """Write each item's features into a folder, in the snapshot's order; give their manifest.

    The same snapshot, encoder and batch size on the same machine give the same bits: every batch
    is computed at full size, the last one filled up. Memory holds a few batches, however many
    items there are.

    Args:
        snapshot: The items.
        encoder: The encoder, of the snapshot's modality.
        folder: The empty folder to fill.
        batch_size: How many items a GPU computes at once; a core computes at most 8 at once.
        progress: Called with items done and items in all.

    Raises:
        BlocksError: The modalities differ, or an item cannot be decoded or has features that are
            not finite numbers.
    """
    of_items, of_encoder = snapshot.manifest.modality, encoder.input.name
    if of_items != of_encoder:
        raise BlocksError(
            WHERE,
            "encoder",
            f"the snapshot's items are {of_items}, {encoder.pin.name} takes {of_encoder}",
            "the same modality",
            f"give an encoder of {of_items} or a snapshot of {of_encoder}",
        )
    schema = features_schema(encoder.pin.output.dimension)
    with ShardWriter(folder, schema) as writer:
        written: list[pa.RecordBatch] = []
        done = 0
        for rows, vectors in _computed(snapshot, encoder, batch_size):
            _check_finite(rows, vectors)
            values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
            columns = [rows.column(name) for name in ("id", "label", "split")]
            written.append(pa.record_batch([*columns, values], schema=schema))
            done += len(vectors)
            if done % ROWS_PER_WRITE < len(vectors):
                writer.write(_joined(written))
                written.clear()
            progress(done, snapshot.manifest.items)
        if written:
            writer.write(_joined(written))
    manifest = Manifest(
        items=writer.rows,
        dimension=encoder.pin.output.dimension,
        labels=snapshot.manifest.labels,
        snapshot_digest=snapshot.manifest.digest,
        encoder_digest=encoder.digest,
        preprocessing=encoder.input.describe(),
        shards=tuple(writer.names),
    )
    manifest.write(folder)
    return manifest


def _computed(
    snapshot: Snapshot, encoder: Encoder, batch_size: int
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """Items in order with their features, float32 [items, dimension].

    Each core takes whole batches, decoding and all, so one decodes while another computes; twice
    as many batches as cores are under way at most.
    """
    if not tf.config.list_logical_devices("GPU"):
        batch_size = min(batch_size, CPU_BATCH_SIZE)
    run = encoder.frozen(batch_size)

    def compute(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        contents = rows.column("content").to_pylist()
        filled = contents + contents[-1:] * (batch_size - len(contents))
        try:
            return rows, run(filled)[: len(contents)]
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise _undecodable(rows, encoder, error) from error

    cores = core_count()
    waiting: deque[Future[tuple[pa.RecordBatch, np.ndarray]]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        for rows in _batches(snapshot, batch_size):
            waiting.append(pool.submit(compute, rows))
            if len(waiting) >= 2 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _batches(snapshot: Snapshot, size: int) -> Iterator[pa.RecordBatch]:
    """The items in batches of one size, whatever the snapshot's own; the last may be smaller."""
    rest: list[pa.RecordBatch] = []
    for stored in snapshot.batches():
        rows = _joined([*rest, stored])
        whole = rows.num_rows - rows.num_rows % size
        for start in range(0, whole, size):
            yield rows.slice(start, size)
        rest = [rows.slice(whole)]
    if rest and rest[0].num_rows:
        yield rest[0]


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)


def _check_finite(rows: pa.RecordBatch, vectors: np.ndarray) -> None:
    faulty = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if faulty.size:
        raise BlocksError(
            WHERE,
            f"item {rows.column('id')[int(faulty[0])]}",
            "the encoder gives features that are NaN or infinite",
            "finite numbers",
            "check the item (the snapshot's sources.parquet locates it) and the pin's range",
        )


def _undecodable(rows: pa.RecordBatch, encoder: Encoder, error: Exception) -> Exception:
    """The error that names the item that failed, or the error itself if none fails alone."""
    for item, content in zip(rows.column("id"), rows.column("content"), strict=True):
        try:
            encoder.preprocess(tf.constant([encoder.input.decode(content.as_py())]))
        except (ValueError, tf.errors.InvalidArgumentError) as alone:
            return BlocksError(
                WHERE,
                f"item {item}",
                f"it cannot be decoded ({first_line(alone)})",
                f"{encoder.input.name} that can",
                "convert or remove it (sources.parquet locates it), and snapshot again",
            )
    return error
