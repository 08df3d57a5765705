"""Snapshots: a data set that may change becomes one that cannot.

Contents are spilled to a file while they are read; sorted by id, they are copied into shards.
What an item is, which split it is in and in what order items stand follows from contents alone.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_blocks.compute.data.classes import (
    Codes,
    check_classes,
    count_classes,
    label_warnings,
    split_warnings,
)
from tfhub_blocks.compute.data.data_sources import ATTRIBUTION_NAME, DataSource, open_source
from tfhub_blocks.compute.data.fields import STEP_NAME, quoted, refusal
from tfhub_blocks.compute.data.item_places import Indexes, ItemPlaces, RejectedWriter
from tfhub_blocks.compute.data.place_contents import read_contents
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.snapshot_writer import write_items
from tfhub_blocks.records.formats.snapshots import (
    SOURCES_NAME,
    SPLITS,
    SnapshotItem,
    SnapshotManifest,
)

ATTRIBUTION_CHARACTERS = 2000


@dataclass(frozen=True)
class SnapshotOptions:
    """How to read a source and split it.

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

    def __post_init__(self) -> None:
        choices = ("auto", *MODALITIES)
        if self.modality not in choices:
            raise _bad_option("modality", repr(self.modality), f"one of {', '.join(choices)}")
        for name in ("validation_fraction", "test_fraction", "max_rejected_fraction"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise _bad_option(name, value, "at least 0 and at most 1")
        held_out = self.validation_fraction + self.test_fraction
        if held_out >= 1:
            problem = f"{self.validation_fraction} and test_fraction {self.test_fraction}"
            raise _bad_option("validation_fraction", problem, "less than 1 together")
        if self.max_pixels < 1:
            raise _bad_option("max_pixels", self.max_pixels, "at least 1")
        if not self.max_seconds > 0:
            raise _bad_option("max_seconds", self.max_seconds, "more than 0")

    @property
    def limits(self) -> Limits:
        """The largest items to take."""
        return Limits(self.max_pixels, self.max_seconds)

    def split_rule(self) -> Mapping[str, Any]:
        """The rule that the manifest records."""
        if self.respect_splits:
            return {"kind": "given"}
        return {
            "kind": "salted-sha256",
            "salt": self.split_salt,
            "validation_fraction": self.validation_fraction,
            "test_fraction": self.test_fraction,
        }


def take_snapshot(
    source: Path,
    folder: Path,
    options: SnapshotOptions,
    progress: Callable[[int, int | None], None],
) -> SnapshotManifest:
    """The manifest of the snapshot of a source, written into an empty folder.

    Equal contents with equal labels give equal shards and an equal digest, whatever the files'
    order, names and times are. Memory does not grow with the size of contents.

    Args:
        source: A folder of classes, a folder with one table at its top, or a table.
        folder: The empty folder to fill.
        options: How to read and split.
        progress: Called with how many places were read, and of how many if that is known.

    Raises:
        BlocksError: The source cannot be understood, too many of its items cannot be used, or its
            classes are too few or too small.
    """
    found = open_source(source, options.modality, options.respect_splits)
    with ItemPlaces(folder) as places:
        with RejectedWriter(folder) as rejected:
            total = _gather(found, options.limits, places, rejected, progress)
            kept, items = _without_conflicts(places, rejected)
        _check_rejected(rejected, total, options.max_rejected_fraction)
        labels = tuple(places.label_codes)
        check_classes(labels, places.labels[items])
        splits = _split_codes(places, items, options)
        counts = count_classes(labels, places.labels[items], splits)
        written, digest = write_items(folder, _items(places, items, splits))
        places.write_sources(folder / SOURCES_NAME, kept)
    manifest = SnapshotManifest(
        digest=digest,
        modality=found.modality,
        items=len(items),
        labels=tuple(sorted(labels)),
        counts=counts,
        split_rule=options.split_rule(),
        shards=tuple(written.names),
        shard_rows=tuple(written.shard_rows),
        duplicates=len(kept) - len(items),
        rejected=rejected.count,
        warnings=(*found.warnings, *label_warnings(labels), *_split_warnings(counts, options)),
        attribution=_attribution(source),
    )
    manifest.write(folder)
    return manifest


def split_of(
    item_id: str, split_salt: str, validation_fraction: float, test_fraction: float
) -> str:
    """The split of an item, which depends on its content and the salt alone.

    The test set takes one end of the range of a salted hash and validation the other, so that an
    item moves only between train and the split whose fraction is changed.
    """
    digest = hashlib.sha256(f"{split_salt}\n{item_id}".encode()).digest()
    # 48 bits are exact in a float, and always below 1.
    point = int.from_bytes(digest[:6]) / 2**48
    if point < test_fraction:
        return "test"
    return "validation" if point >= 1 - validation_fraction else "train"


def _attribution(source: Path) -> str:
    """The first paragraph of the attribution at the top of the source, or nothing."""
    path = (source if source.is_dir() else source.parent) / ATTRIBUTION_NAME
    if not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8", errors="replace")[:ATTRIBUTION_CHARACTERS]
    return " ".join(text.partition("\n\n")[0].split())


def _gather(
    source: DataSource,
    limits: Limits,
    places: ItemPlaces,
    rejected: RejectedWriter,
    progress: Callable[[int, int | None], None],
) -> int:
    """How many places the source has; each is then in ``places`` or ``rejected``."""
    for label in source.labels:
        places.add_label(label)
    done = 0
    for place, content, fault in read_contents(source, limits):
        if fault is None and place.label is not None:
            places.add(place, place.label, hashlib.sha256(content).digest(), content)
        else:
            rejected.add(place.path, place.label, fault or "it has no label")
        done += 1
        progress(done, source.total)
    places.sort()
    if not done:
        raise refusal("the table has no rows", "a row for each item", "check the table")
    return done


def _without_conflicts(places: ItemPlaces, rejected: RejectedWriter) -> tuple[Indexes, Indexes]:
    """The places that stay, and of each content the first; contradictory contents are rejected."""
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
        reason = f"the same content has the labels {quoted(set(labels))}"
        if len(set(labels)) == 1:
            splits = {SPLITS[code] for code in places.splits[indexes]}
            reason = f"the same content is in the splits {quoted(splits)}, which is a leak"
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
        f"at most {max_fraction:.4g} of them",
        "mend or remove them, or raise max_rejected_fraction",
    )


def _split_codes(places: ItemPlaces, items: Indexes, options: SnapshotOptions) -> Codes:
    if options.respect_splits:
        return places.splits[items]
    rule = (options.split_salt, options.validation_fraction, options.test_fraction)
    codes = (SPLITS.index(split_of(places.id(index), *rule)) for index in items)
    return np.fromiter(codes, np.int8, len(items))


def _items(places: ItemPlaces, items: Indexes, splits: Codes) -> Iterator[SnapshotItem]:
    names = tuple(places.label_codes)
    for index, split in zip(items, splits, strict=True):
        label = names[places.labels[index]]
        yield SnapshotItem(places.id(index), places.content(index), label, SPLITS[split])


def _split_warnings(counts: Mapping[str, Mapping[str, int]], options: SnapshotOptions) -> list[str]:
    if options.respect_splits:
        return split_warnings(counts, dict.fromkeys(SPLITS, 1.0), "add items to it")
    shares = (1.0, options.validation_fraction, options.test_fraction)
    remedy = "set another split_salt or add items"
    return split_warnings(counts, dict(zip(SPLITS, shares, strict=True)), remedy)


def _bad_option(name: str, value: Any, expected: str) -> BlocksError:
    return BlocksError(STEP_NAME, name, f"it is {value}", expected, f"set {name} to such a value")
