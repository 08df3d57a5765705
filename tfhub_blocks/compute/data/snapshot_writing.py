"""Snapshots: immutable copies of data sets that may change.

While contents are read, they are spilled to a file. Then they are sorted by id and copied into
shards. The items, their splits and their order depend only on the contents.
"""

# decisions 76 and 79

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_blocks.compute.data.classes import (
    Codes,
    check_classes,
    check_splits,
    count_classes,
    label_warnings,
    split_warnings,
)
from tfhub_blocks.compute.data.data_sources import ATTRIBUTION_NAME, DataSource, open_source
from tfhub_blocks.compute.data.fields import STEP_NAME, no_rows, quoted
from tfhub_blocks.compute.data.grouping import check_group_by
from tfhub_blocks.compute.data.item_places import Indexes, ItemPlaces, RejectedWriter
from tfhub_blocks.compute.data.place_contents import read_contents
from tfhub_blocks.compute.data.snapshot_splits import (
    LEFT_OUT_REASON,
    Earlier,
    ItemSplits,
    split_items,
)
from tfhub_blocks.compute.data.splitting import LEFT_OUT, RULE, SplitFractions
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.redaction import redacted
from tfhub_blocks.records.formats.gate_floors import unreachable
from tfhub_blocks.records.formats.snapshot_writer import write_items
from tfhub_blocks.records.formats.snapshots import (
    SOURCES_NAME,
    SPLITS,
    SnapshotItem,
    SnapshotManifest,
    open_snapshot,
)

ATTRIBUTION_CHARACTERS = 2000
TOGETHER, REPORT, OFF = DUPLICATE_RULES = ("together", "report", "off")


@dataclass(frozen=True)
class SnapshotOptions:
    """Options for reading a source and splitting its items.

    Raises:
        BlocksError: An option is outside its range.
    """

    modality: str = "auto"
    split_salt: str = "splits-1"
    validation_fraction: float = 0.15
    test_fraction: float = 0.15
    respect_splits: bool = False
    max_rejected_fraction: float = 0.01
    max_pixels: int = 50_000_000
    max_seconds: float = 600.0
    follow_links: bool = False
    group_by: str = ""
    near_duplicates: str = TOGETHER
    label_column: str = "label"
    previous: Path | None = None
    min_test_items: int = 0
    min_class_test_items: int = 0
    min_accuracy_gain: float | None = None

    def __post_init__(self) -> None:
        choices = ("auto", *MODALITIES)
        if self.modality not in choices:
            raise _bad_option("modality", repr(self.modality), f"one of {', '.join(choices)}")
        if self.near_duplicates not in DUPLICATE_RULES:
            expected = f"one of {', '.join(DUPLICATE_RULES)}"
            raise _bad_option("near_duplicates", repr(self.near_duplicates), expected)
        check_group_by(self.group_by)
        for name in ("validation_fraction", "test_fraction", "max_rejected_fraction"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise _bad_option(name, value, "a value from 0 to 1")
        held_out = self.validation_fraction + self.test_fraction
        if held_out >= 1:
            raise BlocksError(
                STEP_NAME,
                "validation_fraction",
                f"{self.validation_fraction} and test_fraction {self.test_fraction} leave no items "
                "for training",
                "a sum below 1",
                "Set smaller values for validation_fraction and test_fraction",
            )
        if self.max_pixels < 1:
            raise _bad_option("max_pixels", self.max_pixels, "1 or more")
        if not self.max_seconds > 0:
            raise _bad_option("max_seconds", self.max_seconds, "more than 0")

    @property
    def limits(self) -> Limits:
        """The limits on the size of items."""
        return Limits(self.max_pixels, self.max_seconds)

    def split_rule(self) -> Mapping[str, Any]:
        """Return the split rule that the manifest records."""
        if self.respect_splits:
            return {"kind": "given"}
        return {
            "kind": RULE,
            "salt": self.split_salt,
            "validation_fraction": self.validation_fraction,
            "test_fraction": self.test_fraction,
            "group_by": self.group_by,
            "near_duplicates": self.near_duplicates,
        }

    @property
    def fractions(self) -> SplitFractions:
        """The salt and the fractions of the split rule."""
        return SplitFractions(self.split_salt, self.validation_fraction, self.test_fraction)


def take_snapshot(
    source: Path,
    folder: Path,
    options: SnapshotOptions,
    progress: Callable[[int, int | None], None],
) -> SnapshotManifest:
    """Write the snapshot of a source into an empty folder, and return its manifest.

    Equal contents with equal labels give equal shards and an equal digest, whatever the order,
    names and times of the files are. Memory does not grow with the size of contents.

    Args:
        source: A folder of class folders, a folder with one table at its top, or a table.
        folder: The empty folder to fill.
        options: Options for reading and splitting.
        progress: Called with the number of places read, and their total if known.

    Raises:
        BlocksError: The source has an unknown layout, too many of its items cannot be used, or its
            classes are too few or too small.
    """
    found = open_source(
        source,
        options.modality,
        options.respect_splits,
        follow_links=options.follow_links,
        group_by=options.group_by,
        label_column=options.label_column,
    )
    before = _earlier(options.previous)
    with ItemPlaces(folder) as places:
        with RejectedWriter(folder) as rejected:
            notes: Counter[str] = Counter()
            total = _gather(found, options.limits, places, rejected, notes, progress)
            kept, items = _without_conflicts(places, rejected)
            _check_rejected(rejected, total, options.max_rejected_fraction)
            labels = tuple(places.label_codes)
            check_classes(labels, places.labels[items])
            split = split_items(places, kept, items, found.modality, options, before, folder)
            for index in items[split.codes == LEFT_OUT]:
                label = labels[places.labels[index]]
                rejected.add(places.paths(np.array([index]))[0], label, LEFT_OUT_REASON)
        is_in = split.codes != LEFT_OUT
        items, splits = items[is_in], split.codes[is_in]
        if not is_in.all():
            kept = kept[np.isin(places.ids[kept], places.ids[items])]
        counts = count_classes(labels, places.labels[items], splits)
        if options.respect_splits or options.validation_fraction or options.test_fraction:
            check_splits(counts, options.respect_splits)
        _check_test_split(labels, places, split, counts["test"], options)
        written, digest = write_items(folder, _items(places, items, splits))
        places.write_sources(folder / SOURCES_NAME, kept)
        twins = split.write_tables(folder, places)
    warnings = (
        *found.warnings,
        *found.links.warnings(),
        *label_warnings(labels),
        *_split_warnings(counts, options),
        *split.warnings(twins),
        *(f"{count} items {note}" for note, count in sorted(notes.items())),
    )
    manifest = SnapshotManifest(
        digest=digest,
        modality=found.modality,
        items=len(items),
        labels=tuple(sorted(labels)),
        counts=counts,
        split_rule={**options.split_rule(), **({"previous": before[2]} if before else {})},
        shards=tuple(written.names),
        shard_rows=tuple(written.shard_rows),
        duplicates=len(kept) - len(items),
        rejected=rejected.count,
        warnings=warnings,
        attribution=_attribution(source),
    )
    manifest.write(folder)
    return manifest


def _earlier(previous: Path | None) -> Earlier | None:
    """Return ids, split codes and digest of an earlier snapshot, in the order of its ids."""
    if previous is None:
        return None
    snapshot = open_snapshot(previous, STEP_NAME)
    index = snapshot.index()
    raw = b"".join(map(bytes.fromhex, index["id"].to_pylist()))
    codes = np.array([SPLITS.index(split) for split in index["split"].to_pylist()], np.int8)
    return np.frombuffer(raw, "S32"), codes, snapshot.manifest.digest


def _check_test_split(
    labels: tuple[str, ...],
    places: ItemPlaces,
    split: ItemSplits,
    counts: Mapping[str, int],
    options: SnapshotOptions,
) -> None:
    """Check the test items that the gate will judge by: those without a near duplicate."""
    asked = (options.min_test_items, options.min_class_test_items, options.min_accuracy_gain)
    if asked == (0, 0, None):
        return
    twins = Counter(labels[places.labels[split.items[item]]] for item, _ in split.twins())
    judged = {label: number - twins[label] for label, number in counts.items()}
    for name, problem, remedy in unreachable(judged, *asked, twins.total()):
        raise BlocksError(STEP_NAME, name, problem, "", remedy)


def _attribution(source: Path) -> str:
    """Return the first paragraph of the attribution at the top of the source, or an empty text."""
    path = (source if source.is_dir() else source.parent) / ATTRIBUTION_NAME
    if not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8", errors="replace")[:ATTRIBUTION_CHARACTERS]
    return redacted(" ".join(text.partition("\n\n")[0].split()))


def _gather(
    source: DataSource,
    limits: Limits,
    places: ItemPlaces,
    rejected: RejectedWriter,
    notes: Counter[str],
    progress: Callable[[int, int | None], None],
) -> int:
    """Add each place of the source to ``places`` or ``rejected``; return the number of places.

    ``notes`` counts the notes about items.
    """
    for label in source.labels:
        places.add_label(label)
    done = 0
    for place, content, fault in read_contents(source, limits, notes=notes):
        if fault is None and place.label is not None:
            places.add(place, place.label, hashlib.sha256(content).digest(), content)
        else:
            rejected.add(place.path, place.label, fault or "the item has no label")
        done += 1
        progress(done, source.total)
    places.sort()
    if not done:
        raise no_rows()
    return done


def _without_conflicts(places: ItemPlaces, rejected: RejectedWriter) -> tuple[Indexes, Indexes]:
    """Reject contradictory contents; return the other places, and the first of each content."""
    if not len(places.ids):
        return (np.empty(0, np.int64),) * 2
    starts = np.flatnonzero(np.concatenate([[True], places.ids[1:] != places.ids[:-1]]))
    has_conflict = np.zeros(len(starts), bool)
    for codes in (places.labels, places.splits):
        has_conflict |= np.minimum.reduceat(codes, starts) != np.maximum.reduceat(codes, starts)
    sizes = np.diff(starts, append=len(places.ids))
    names = tuple(places.label_codes)
    for start, size in zip(starts[has_conflict], sizes[has_conflict], strict=True):
        indexes = np.arange(start, start + size)
        labels = [names[code] for code in places.labels[indexes]]
        reason = f"the same content has several labels: {quoted(set(labels))}"
        if len(set(labels)) == 1:
            splits = {SPLITS[code] for code in places.splits[indexes]}
            reason = f"the same content is in several splits (a leak): {quoted(splits)}"
        for path, label in zip(places.paths(indexes), labels, strict=True):
            rejected.add(path, label, reason)
    return np.flatnonzero(np.repeat(~has_conflict, sizes)), starts[~has_conflict]


def _check_rejected(rejected: RejectedWriter, total: int, max_fraction: float) -> None:
    if rejected.count <= max_fraction * total:
        return
    more = rejected.count - len(rejected.first)
    raise BlocksError(
        STEP_NAME,
        "max_rejected_fraction",
        f"{rejected.count} of {total} items cannot be used: {'; '.join(rejected.first)}"
        + (f"; and {more} more" if more else ""),
        f"at most a fraction of {max_fraction:.4g}",
        f"Fix or remove these items, or set max_rejected_fraction above {max_fraction:.4g}",
    )


def _items(places: ItemPlaces, items: Indexes, splits: Codes) -> Iterator[SnapshotItem]:
    names = tuple(places.label_codes)
    for index, split in zip(items, splits, strict=True):
        label = names[places.labels[index]]
        yield SnapshotItem(places.id(index), places.content(index), label, SPLITS[split])


def _split_warnings(counts: Mapping[str, Mapping[str, int]], options: SnapshotOptions) -> list[str]:
    if options.respect_splits:
        return split_warnings(counts, dict.fromkeys(SPLITS, 1.0), "add items to this split")
    fractions = (1.0, options.validation_fraction, options.test_fraction)
    remedy = "set another split_salt or add items"
    return split_warnings(counts, dict(zip(SPLITS, fractions, strict=True)), remedy)


def _bad_option(name: str, value: Any, expected: str) -> BlocksError:
    return BlocksError(STEP_NAME, name, f"{value} is not allowed", "", f"Set {name} to {expected}")
