"""Snapshots: immutable copies of data sets that may change.

While contents are read, they are spilled to a file. Then they are sorted by id and copied into
shards. The items, their splits and their order depend only on the contents.
"""

# decisions 59, 76 and 79

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from tfhub_blocks.compute.data.classes import Codes
from tfhub_blocks.compute.data.data_analysis import analyse, open_with
from tfhub_blocks.compute.data.data_inspections import inspection_of
from tfhub_blocks.compute.data.data_sources import ATTRIBUTION_NAME
from tfhub_blocks.compute.data.inspection_page import write_page
from tfhub_blocks.compute.data.item_places import Indexes, ItemPlaces, RejectedWriter
from tfhub_blocks.compute.data.near_duplicates import Signatures
from tfhub_blocks.compute.data.snapshot_options import OFF, SnapshotOptions
from tfhub_blocks.compute.data.snapshot_splits import earlier_splits
from tfhub_blocks.records.base.redaction import redacted
from tfhub_blocks.records.formats.snapshot_writer import write_items
from tfhub_blocks.records.formats.snapshots import (
    SOURCES_NAME,
    SPLITS,
    SnapshotItem,
    SnapshotManifest,
)

__all__ = ["SnapshotOptions", "take_snapshot"]

ATTRIBUTION_CHARACTERS = 2000


def take_snapshot(
    source: Path,
    folder: Path,
    options: SnapshotOptions,
    progress: Callable[[int, int | None], None],
) -> SnapshotManifest:
    """Write the snapshot of a source into an empty folder, and return its manifest.

    Equal contents with equal labels give equal shards and an equal digest, whatever the order,
    names and times of the files are. Memory does not grow with the size of contents. The folder
    also contains the inspection of the source, as JSON and as a page.

    Args:
        source: A folder of class folders, a folder with one table at its top, or a table.
        folder: The empty folder to fill.
        options: Options for reading and splitting.
        progress: Called with the number of places read, and their total if known.

    Raises:
        BlocksError: The source has an unknown layout, too many of its items cannot be used, or its
            classes are too few or too small.
    """
    found = open_with(source, options)
    before = earlier_splits(options.previous)
    with ExitStack() as stack:
        places = stack.enter_context(ItemPlaces(folder))
        rejected = stack.enter_context(RejectedWriter(folder))
        signatures = None
        if options.near_duplicates != OFF:
            signatures = stack.enter_context(Signatures(found.modality, folder))
        done = analyse(found, options, before, places, rejected, signatures, progress)
        if done.faults:
            raise done.faults[0]
        inspection = inspection_of(done, options, source)
        written, digest = write_items(folder, _items(places, done.items, done.splits, done.labels))
        places.write_sources(folder / SOURCES_NAME, done.kept)
        if done.found is not None:
            done.found.write_tables(folder, places)
        inspection.write(folder)
        write_page(folder, inspection, done)
    manifest = SnapshotManifest(
        digest=digest,
        modality=found.modality,
        items=len(done.items),
        labels=tuple(sorted(done.labels)),
        counts=done.counts,
        split_rule={**options.split_rule(), **({"previous": before[2]} if before else {})},
        shards=tuple(written.names),
        shard_rows=tuple(written.shard_rows),
        duplicates=len(done.kept) - len(done.items),
        rejected=rejected.count,
        warnings=tuple(finding.text for finding in inspection.of_level("warning")),
        attribution=_attribution(source),
    )
    manifest.write(folder)
    return manifest


def _attribution(source: Path) -> str:
    """Return the first paragraph of the attribution at the top of the source, or an empty text."""
    path = (source if source.is_dir() else source.parent) / ATTRIBUTION_NAME
    if not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8", errors="replace")[:ATTRIBUTION_CHARACTERS]
    return redacted(" ".join(text.partition("\n\n")[0].split()))


def _items(
    places: ItemPlaces, items: Indexes, splits: Codes, names: tuple[str, ...]
) -> Iterator[SnapshotItem]:
    for index, split in zip(items, splits, strict=True):
        label = names[places.labels[index]]
        yield SnapshotItem(places.id(index), places.content(index), label, SPLITS[split])
