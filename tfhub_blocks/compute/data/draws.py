"""Samples of a source: a few items, chosen by content and balanced over the classes."""

# decision 20

import hashlib
import heapq
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tfhub_blocks.compute.data.data_sources import ItemPlace, open_source
from tfhub_blocks.compute.data.place_contents import read_contents
from tfhub_blocks.compute.data.snapshot_options import SnapshotOptions
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.snapshots import (
    ITEM_SCHEMA,
    SNAPSHOT,
    ItemWriter,
    Snapshot,
    SnapshotManifest,
    open_snapshot,
)

ROWS_PER_WRITE = 8

# For each label: a heap of the smallest ids with their places, and the set of these ids. Ids are
# negated integers here, so that the largest id is at the top of the heap.
Smallest = dict[str, tuple[list[tuple[int, int, ItemPlace]], set[int]]]


@dataclass(frozen=True)
class Drawn:
    """A sample as a snapshot, and the number of places of the source that could not be used."""

    snapshot: Snapshot
    rejected: int


def draw(
    source: Path,
    items: int,
    folder: Path,
    where: str,
    progress: Callable[[int, int | None], None],
    follow_links: bool = False,
) -> Drawn:
    """Write a snapshot of a sample of a source into a new folder; all items are in ``train``.

    From each class, the sample takes the items with the smallest ids. Ids are hashes of contents,
    so equal contents give the same sample, whatever their order and names are. If a class has too
    few items, the sample takes all of them, and more items of the other classes. Each place is read
    once. Memory contains the contents of a few items only, and at most ``items`` places for each
    class.

    Args:
        source: A source of snapshot_data: a folder or a table.
        items: The size of the sample, if the source has as many items.
        folder: The folder of the snapshot; absent or empty.
        where: The command or step, for messages.
        progress: Called with the number of places read, and their total if known.
        follow_links: True to read files outside of the source to which links lead.

    Raises:
        BlocksError: The source has an unknown layout, or the sample has fewer than two classes
            with two items each.
    """
    options = SnapshotOptions()
    found = open_source(source, options.modality, options.respect_splits, follow_links=follow_links)
    smallest: Smallest = defaultdict(lambda: ([], set()))
    rejected = 0
    for number, (place, content, fault) in enumerate(read_contents(found, options.limits), 1):
        progress(number, found.total)
        if fault is not None or place.label is None:
            rejected += 1
            continue
        heap, known = smallest[place.label]
        negated = -int(hashlib.sha256(content).hexdigest(), 16)
        if negated not in known:
            known.add(negated)
            heapq.heappush(heap, (negated, number, place))
        if len(heap) > items:
            known.remove(heapq.heappop(heap)[0])
    chosen = _chosen(smallest, items)
    counts = Counter(label for label, _ in chosen.values())
    if len(counts) < 2 or min(counts.values()) < 2:
        raise BlocksError(
            where,
            str(source),
            f"a sample of {items} has {len(chosen)} items of {len(counts)} classes",
            "two classes or more, and two items or more of each",
            f"Pass more than --items {items}, or a source with more items of each class",
        )
    provenance = Provenance(where, {}, (), "", "", "", "")
    partial = begin_folder(folder, provenance)
    _write(partial, found.modality, chosen, counts, rejected)
    finish_folder(folder, "snapshot", SNAPSHOT, provenance)
    return Drawn(open_snapshot(folder, where), rejected)


def _chosen(smallest: Smallest, items: int) -> dict[str, tuple[str, ItemPlace]]:
    """Return label and place by id: the first item of every class, then the second, and so on."""
    ranked = []
    labels_of = defaultdict(set)
    for label, (heap, _) in smallest.items():
        places = {f"{-negated:064x}": place for negated, _, place in heap}
        for rank, item in enumerate(sorted(places)):
            labels_of[item].add(label)
            ranked.append((rank, item, label, places[item]))
    # The same content in two classes would be wrong for one of them.
    clear = [entry for entry in ranked if len(labels_of[entry[1]]) == 1]
    clear.sort(key=lambda entry: entry[:2])
    return {item: (label, place) for _, item, label, place in clear[:items]}


def _write(
    folder: Path,
    modality: str,
    chosen: dict[str, tuple[str, ItemPlace]],
    counts: Counter[str],
    rejected: int,
) -> None:
    digest = hashlib.sha256()
    ordered = sorted(chosen)
    with ItemWriter(folder) as writer:
        for start in range(0, len(ordered), ROWS_PER_WRITE):
            rows = []
            for item in ordered[start : start + ROWS_PER_WRITE]:
                label, place = chosen[item]
                digest.update(f"{item} {label!r}\n".encode())
                source = place.content
                content = source if isinstance(source, bytes) else source.read_bytes()
                rows.append({"id": item, "content": content, "label": label, "split": "train"})
            writer.write(pa.RecordBatch.from_pylist(rows, schema=ITEM_SCHEMA))
    SnapshotManifest(
        digest=digest.hexdigest(),
        modality=modality,
        items=writer.rows,
        labels=tuple(sorted(counts)),
        counts={"train": dict(sorted(counts.items()))},
        split_rule={"kind": "draw"},
        shards=tuple(writer.names),
        shard_rows=tuple(writer.shard_rows),
        duplicates=0,
        rejected=rejected,
        warnings=(),
    ).write(folder)
