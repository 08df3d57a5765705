"""Writing of snapshots: items into shards, and a snapshot that is derived from another one."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tfhub_blocks.records.base.arrow_bounds import open_arrow
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.parquet_bounds import read_bounded
from tfhub_blocks.records.formats.snapshots import (
    INDEX_NAME,
    ITEM_SCHEMA,
    REJECTED_NAME,
    REJECTED_SCHEMA,
    SOURCES_NAME,
    SPLITS,
    ItemWriter,
    Snapshot,
    SnapshotItem,
    SnapshotManifest,
)
from tfhub_blocks.records.formats.twins import (
    derive_twins,
    twins_warning,
    without_twin_warnings,
)

# An Arrow batch is the least that a reader loads at once.
BATCH_BYTES = 4 * 2**20
# The approximate size of an item's id, label and split.
ITEM_OVERHEAD_BYTES = 128


def write_items(folder: Path, items: Iterable[SnapshotItem]) -> tuple[ItemWriter, str]:
    """Write items into shards with an index.

    Args:
        folder: The snapshot's folder.
        items: The items, each once, in the order of their ids.

    Returns:
        The closed writer, and the digest over contents, labels and splits.
    """
    digest, rows, weight = hashlib.sha256(), list[SnapshotItem](), 0
    with ItemWriter(folder) as writer:
        for item in items:
            # JSON escapes line breaks, so no label can imitate the end of its line.
            digest.update(f"{item.id} {json.dumps(item.label)} {item.split}\n".encode())
            rows.append(item)
            weight += len(item.content) + ITEM_OVERHEAD_BYTES
            if weight >= BATCH_BYTES:
                writer.write(_batch(rows))
                rows, weight = [], 0
        if rows:
            writer.write(_batch(rows))
    return writer, digest.hexdigest()


def _batch(rows: Sequence[SnapshotItem]) -> pa.RecordBatch:
    columns = [
        pa.array([getattr(row, field.name) for row in rows], field.type) for field in ITEM_SCHEMA
    ]
    return pa.record_batch(columns, schema=ITEM_SCHEMA)


def write_snapshot(
    folder: Path, items: Iterable[SnapshotItem], like: Snapshot, warnings: Sequence[str] = ()
) -> SnapshotManifest:
    """Write a snapshot of some or all items of another snapshot.

    Labels and splits may differ from the other snapshot. Equal items give equal shards and an equal
    digest. Near duplicates of the other snapshot stay known, and twins are found by the new splits.
    A step of your own calls::

        kept = (item for item in snapshot.items() if is_wanted(item))
        write_snapshot(run.begin_output("kept", SNAPSHOT), kept, like=snapshot)

    Args:
        folder: The empty folder to fill.
        items: The items, each once, in the order of their ids, as ``Snapshot.items`` yields them.
        like: The other snapshot, for modality, split rule, attribution, paths and warnings.
        warnings: Sentences about the data that its readers should see.

    Raises:
        BlocksError: An item is new or out of order, its content was changed, its split is unknown,
            or no item is left.
    """
    counts = {split: dict[str, int]() for split in SPLITS}
    writer, digest = write_items(folder, _checked(items, like, counts))
    labels = sorted({label for of in counts.values() for label in of})
    if not labels:
        raise _bad_item("items", "no item is left", "one or more items")
    index = _index(folder)
    _copy_sources(folder, like, index["id"])
    splits = dict(zip(index["id"].to_pylist(), index["split"].to_pylist(), strict=True))
    twins = derive_twins(folder, like.folder, splits)
    kept = [*without_twin_warnings(like.manifest.warnings), *warnings]
    pq.write_table(REJECTED_SCHEMA.empty_table(), folder / REJECTED_NAME)
    manifest = SnapshotManifest(
        digest=digest,
        modality=like.manifest.modality,
        items=writer.rows,
        labels=tuple(labels),
        counts={
            split: {label: of.get(label, 0) for label in labels} for split, of in counts.items()
        },
        split_rule=like.manifest.split_rule,
        shards=tuple(writer.names),
        shard_rows=tuple(writer.shard_rows),
        duplicates=0,
        rejected=0,
        warnings=(*kept, *([twins_warning(twins)] if twins else [])),
        attribution=like.manifest.attribution,
    )
    manifest.write(folder)
    return manifest


def _checked(
    items: Iterable[SnapshotItem], like: Snapshot, counts: dict[str, dict[str, int]]
) -> Iterator[SnapshotItem]:
    known = set(like.index()["id"].to_pylist())
    last = ""
    for item in items:
        if item.id not in known:
            raise _bad_item(item.id, "the item is not in the other snapshot", "items of that one")
        if item.split not in counts:
            raise _bad_item(item.id, f"split {item.split!r} is unknown", " or ".join(SPLITS))
        if item.id <= last:
            raise _bad_item(item.id, f"the item follows {last}", "each id once, in rising order")
        if hashlib.sha256(item.content).hexdigest() != item.id:
            raise _bad_item(item.id, "the content was changed", "the content of that id")
        counts[item.split][item.label] = counts[item.split].get(item.label, 0) + 1
        last = item.id
        yield item


def _index(folder: Path) -> pa.Table:
    with pa.memory_map(str(folder / INDEX_NAME)) as source:
        return open_arrow(source, folder / INDEX_NAME).read_all()


def _copy_sources(folder: Path, like: Snapshot, kept: pa.ChunkedArray) -> None:
    """Copy the paths of the items that were kept."""
    table = read_bounded(like.folder.file(SOURCES_NAME))
    table = table.filter(pc.is_in(table["id"], value_set=kept.combine_chunks()))
    pq.write_table(table, folder / SOURCES_NAME, use_dictionary=False)


def _bad_item(what: str, problem: str, expected: str) -> BlocksError:
    remedy = "Pass items as Snapshot.items yields them, with other labels or splits if you like"
    return BlocksError("write_snapshot", what, problem, expected, remedy)
