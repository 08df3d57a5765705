"""Caching: the frozen lower part of an encoder, run once over the items that training needs."""

import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tfhub_blocks.compute.encoder_cuts import Cut, CutEncoder
from tfhub_blocks.compute.runtime import convert_variables_to_constants_v2, core_count, tf
from tfhub_blocks.compute.saved_objects import first_line
from tfhub_blocks.compute.tuning.activations import (
    CHUNK_BYTES,
    Activations,
    Float,
    Identity,
    open_activations,
)
from tfhub_blocks.records.errors import BlocksError
from tfhub_blocks.records.folders import write_file
from tfhub_blocks.records.shards import ShardWriter
from tfhub_blocks.records.snapshots import Snapshot

MANIFEST_NAME = "activations.json"
SPLITS = ("train", "validation")
# Items that one core computes at once, as for features.
BATCH_SIZE = 8


def cached_activations(
    snapshot: Snapshot,
    cut_encoder: CutEncoder,
    cut: Cut,
    dtype: Literal["float16", "float32"],
    folder: Path,
    progress: Callable[[int, int], None],
    where: str,
) -> dict[str, Activations]:
    """The activations at a cut of all items to train on and to validate with, by split.

    What an earlier attempt left in the folder is used if it is finished and of the same snapshot,
    encoder, cut and type, and else made again.

    Raises:
        BlocksError: The disk is too small, the modalities differ, an item cannot be decoded, or an
            activation is not finite as ``dtype``.
    """
    encoder, manifest = cut_encoder.encoder, snapshot.manifest
    if manifest.modality != encoder.input.name:
        of_items, of_encoder = manifest.modality, encoder.input.name
        raise BlocksError(
            where,
            "encoder",
            f"the snapshot's items are {of_items}, {encoder.pin.name} takes {of_encoder}",
            "the same modality",
            f"give an encoder of {of_items} or a snapshot of {of_encoder}",
        )
    identity = Identity(
        encoder.digest, manifest.digest, encoder.input.describe(), cut.tensor, cut.shape, dtype
    )
    if not _is_of(identity, folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        items = sum(sum(manifest.counts.get(split, {}).values()) for split in SPLITS)
        _check_disk(items * cut.activation_bytes(dtype), folder, where)
        run = _activation_function(cut_encoder, cut)
        _write(snapshot, encoder, run, identity, folder, lambda n: progress(n, items), where)
        # Last, so that what was cut short is not taken for whole.
        write_file(folder / MANIFEST_NAME, identity.as_text().encode())
    return {split: open_activations(folder / split, cut.shape, dtype) for split in SPLITS}


def _is_of(identity: Identity, folder: Path) -> bool:
    manifest = folder / MANIFEST_NAME
    return manifest.is_file() and manifest.read_text(encoding="utf-8") == identity.as_text()


def _check_disk(needed_bytes: int, folder: Path, where: str) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise BlocksError(
            where,
            "trainable",
            f"the activations at this cut need {needed_bytes / 1e9:.2f} GB of disk, "
            f"{free_bytes / 1e9:.2f} GB are free",
            "room for all of them",
            "choose a cut with smaller activations (`tfhub-blocks encoder cuts ENCODER`), "
            "activations=float16, or a larger disk",
        )


def _activation_function(cut_encoder: CutEncoder, cut: Cut) -> Callable[[Sequence[bytes]], Float]:
    """From ``BATCH_SIZE`` contents to their activations, from any thread, with constant weights."""
    encoder = cut_encoder.encoder
    strings = tf.TensorSpec([BATCH_SIZE], tf.string)
    preprocess = tf.function(encoder.preprocess).get_concrete_function(strings)
    lower = convert_variables_to_constants_v2(cut_encoder.lower(cut))

    def run(contents: Sequence[bytes]) -> Float:
        decoded = tf.constant([encoder.input.decode(content) for content in contents])
        activations: Float = tf.nest.flatten(lower(preprocess(decoded)))[0].numpy()
        return activations

    return run


def _write(
    snapshot: Snapshot,
    encoder: Any,
    run: Callable[[Sequence[bytes]], Float],
    identity: Identity,
    folder: Path,
    progress: Callable[[int], None],
    where: str,
) -> None:
    size = int(np.prod(identity.shape))
    kept = pa.float16() if identity.dtype == "float16" else pa.float32()
    schema = pa.schema(
        [("id", pa.string()), ("target", pa.int64()), ("vector", pa.list_(kept, size))]
    )
    rows_per_chunk = max(1, CHUNK_BYTES // (size * kept.bit_width // 8))
    targets = {label: number for number, label in enumerate(snapshot.manifest.labels)}
    done = 0
    for split in SPLITS:
        waiting: list[tuple[pa.RecordBatch, Float]] = []
        with ShardWriter(folder / split, schema) as writer:

            def write(
                waiting: list[tuple[pa.RecordBatch, Float]] = waiting,
                writer: ShardWriter = writer,
            ) -> None:
                ids = [item for rows, _ in waiting for item in rows["id"].to_pylist()]
                labels = [label for rows, _ in waiting for label in rows["label"].to_pylist()]
                flat = np.concatenate([activations for _, activations in waiting]).ravel()
                columns = [
                    pa.array(ids),
                    pa.array([targets[label] for label in labels]),
                    pa.FixedSizeListArray.from_arrays(pa.array(flat), size),
                ]
                writer.write(pa.record_batch(columns, schema=schema))
                waiting.clear()

            for rows, computed in _computed(_rows_of(snapshot, split), encoder, run, where):
                with np.errstate(over="ignore"):  # told below, with the item
                    activations = computed.astype(identity.dtype)
                _check_finite(rows, activations, identity.dtype, where)
                waiting.append((rows, activations))
                done += len(activations)
                progress(done)
                if sum(len(each) for _, each in waiting) >= rows_per_chunk:
                    write()
            if waiting:
                write()


def _rows_of(snapshot: Snapshot, split: str) -> Iterator[pa.RecordBatch]:
    """The items of a split, ``BATCH_SIZE`` at once; the last may be fewer."""
    rest: list[pa.RecordBatch] = []
    for stored in snapshot.batches():
        rows = pa.concat_batches([*rest, stored.filter(pc.equal(stored["split"], split))])
        whole = rows.num_rows - rows.num_rows % BATCH_SIZE
        for start in range(0, whole, BATCH_SIZE):
            yield rows.slice(start, BATCH_SIZE)
        rest = [rows.slice(whole)]
    if rest and rest[0].num_rows:
        yield rest[0]


def _computed(
    batches: Iterator[pa.RecordBatch],
    encoder: Any,
    run: Callable[[Sequence[bytes]], Float],
    where: str,
) -> Iterator[tuple[pa.RecordBatch, Float]]:
    """Rows in order with their activations; twice as many batches as cores are under way."""

    def compute(rows: pa.RecordBatch) -> tuple[pa.RecordBatch, Float]:
        contents = rows["content"].to_pylist()
        filled = contents + contents[-1:] * (BATCH_SIZE - len(contents))
        try:
            return rows, run(filled)[: len(contents)]
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise _undecodable(rows, encoder, error, where) from error

    cores = core_count()
    waiting: deque[Future[tuple[pa.RecordBatch, Float]]] = deque()
    with ThreadPoolExecutor(cores) as pool:
        for rows in batches:
            waiting.append(pool.submit(compute, rows))
            if len(waiting) >= 2 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _check_finite(rows: pa.RecordBatch, activations: Float, dtype: str, where: str) -> None:
    faulty = np.flatnonzero(~np.isfinite(activations.reshape(len(activations), -1)).all(axis=1))
    if faulty.size:
        remedy = "set activations=float32" if dtype == "float16" else "check the item and the pin"
        raise BlocksError(
            where,
            f"item {rows['id'][int(faulty[0])]}",
            f"its activation is not finite as {dtype}",
            "finite numbers",
            f"{remedy} (the snapshot's sources.parquet locates the item)",
        )


def _undecodable(rows: pa.RecordBatch, encoder: Any, error: Exception, where: str) -> Exception:
    """The error that names the item that failed, or the error itself if none fails alone."""
    for item, content in zip(rows["id"], rows["content"], strict=True):
        try:
            encoder.preprocess(tf.constant([encoder.input.decode(content.as_py())]))
        except (ValueError, tf.errors.InvalidArgumentError) as alone:
            return BlocksError(
                where,
                f"item {item}",
                f"it cannot be decoded ({first_line(alone)})",
                f"{encoder.input.name} that can",
                "convert or remove it (sources.parquet locates it), and snapshot again",
            )
    return error
