"""The analysis of a source: what its items, classes and splits are, and what looks wrong.

A snapshot and an inspection come from this analysis, so they understand a source in the same way.
"""

# decision 59

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_blocks.compute.data.classes import (
    Codes,
    check_classes,
    check_splits,
    count_classes,
    split_warnings,
)
from tfhub_blocks.compute.data.data_sources import DataSource, TextRows, open_source
from tfhub_blocks.compute.data.fields import (
    A_FLOAT,
    A_LIST,
    AN_ADDRESS,
    STEP_NAME,
    no_rows,
    quoted,
)
from tfhub_blocks.compute.data.item_places import Indexes, ItemPlaces, RejectedWriter
from tfhub_blocks.compute.data.label_checks import (
    REGRESSION_REMEDY,
    SEVERAL_REMEDY,
    label_findings,
    renamed_finding,
    whole_numbers,
)
from tfhub_blocks.compute.data.near_duplicates import TEXTS_AT_ONCE, Signatures
from tfhub_blocks.compute.data.place_contents import Examined, examine_contents, examine_text
from tfhub_blocks.compute.data.snapshot_options import SnapshotOptions
from tfhub_blocks.compute.data.snapshot_splits import (
    LEFT_OUT_REASON,
    Earlier,
    ItemSplits,
    split_items,
)
from tfhub_blocks.compute.data.splitting import LEFT_OUT
from tfhub_blocks.compute.modalities.texts import Texts
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.gate_floors import unreachable
from tfhub_blocks.records.formats.inspections import Fate, Finding, Tally
from tfhub_blocks.records.formats.snapshots import SPLITS

PLACES_PER_REPORT = 64
NOTHING: Indexes = np.empty(0, np.int64)
# The text of the faults and warnings of rejected rows, by a part of their reasons.
_BAD_ENCODING = "is not valid UTF-8"


@dataclass(frozen=True, eq=False)
class DataAnalysis:
    """The items of a source with their splits, and everything that was found.

    ``faults`` are the errors for which a snapshot is refused, the first one first.
    """

    source: DataSource
    places: ItemPlaces
    rejected: RejectedWriter
    seen: int
    labels: tuple[str, ...] = ()
    kept: Indexes = field(default_factory=lambda: NOTHING)
    """The usable places."""
    items: Indexes = field(default_factory=lambda: NOTHING)
    """The first place of each content."""
    splits: Codes = field(default_factory=lambda: NOTHING)
    """The split of each item."""
    found: ItemSplits | None = None
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: tuple[Fate, ...] = ()
    findings: tuple[Finding, ...] = ()
    faults: tuple[BlocksError, ...] = ()


def open_with(source: Path, options: SnapshotOptions) -> DataSource:
    """Open a source as the options state."""
    return open_source(
        source,
        options.modality,
        options.respect_splits,
        follow_links=options.follow_links,
        group_by=options.group_by,
        label_column=options.label_column,
    )


def analyse(
    source: DataSource,
    options: SnapshotOptions,
    earlier: Earlier | None,
    places: ItemPlaces,
    rejected: RejectedWriter,
    signatures: Signatures | None,
    progress: Callable[[int, int | None], None],
) -> DataAnalysis:
    """Read a source once, and return its analysis.

    Faults do not end the analysis, unless a place cannot be read at all: a snapshot raises the
    first fault, and an inspection prints all.

    Args:
        source: The source.
        options: The options of the snapshot.
        earlier: The earlier snapshot, whose items keep their splits.
        places: Takes the usable places.
        rejected: Takes the other places.
        signatures: Takes the signatures of items; None to find no near duplicates.
        progress: Called with the number of places read, and their total if known.
    """
    notes = Tally()
    faults: list[BlocksError] = []
    seen = 0
    for label in source.labels:
        places.add_label(label)
    gathered = _Gathered(places, rejected, notes, signatures)
    reported = 0
    try:
        for seen in _gather(source, options, gathered):
            if seen - reported >= PLACES_PER_REPORT or seen == source.total:
                progress(seen, source.total)
                reported = seen
    except BlocksError as error:
        faults.append(error)
    if seen > reported:
        progress(seen, source.total)
    if not source.is_typed and (names := whole_numbers(places.label_codes)):
        places.rename_labels(names)
        source = replace(source, findings=(*source.findings, renamed_finding(names, source.column)))
    places.sort()
    begun = DataAnalysis(source, places, rejected, seen, notes=notes.fates())
    if not faults and not seen:
        faults.append(no_rows())
    if faults:
        return replace(begun, faults=tuple(faults))
    return _concluded(begun, options, earlier, signatures)


def _gather(
    source: DataSource,
    options: SnapshotOptions,
    gathered: "_Gathered",
) -> Iterator[int]:
    """Add each place of the source to the usable or the rejected; yield their number so far."""
    if source.text_rows is not None:
        yield from _gather_texts(source.text_rows, gathered)
        return
    has_signatures = gathered.signatures is not None
    for number, each in enumerate(
        examine_contents(source, options.limits, has_signatures), start=1
    ):
        gathered.add(each)
        yield number


def _gather_texts(rows: TextRows, gathered: "_Gathered") -> Iterator[int]:
    """Add many texts at once where nothing is to be said about any of them."""
    read, number = rows.read(), 0
    while batch := list(islice(read, TEXTS_AT_ONCE)):
        contents = gathered.plain(batch)
        if contents is None:
            for row, values in enumerate(batch, start=number + 1):
                gathered.add(examine_text(rows.place_of(row, values)))
        else:
            first = number + 1
            paths = [f"{rows.name}:{row}" for row in range(first, first + len(batch))]
            gathered.extend(paths, [label for _, label in batch], contents)
        number += len(batch)
        yield number


@dataclass(frozen=True)
class _Gathered:
    """Takes the places of a source: usable, or rejected."""

    places: ItemPlaces
    rejected: RejectedWriter
    notes: Tally
    signatures: Signatures | None

    def add(self, examined: Examined) -> None:
        """Add one place."""
        place, content, fault, found, mark = examined
        if fault is not None or place.label is None:
            reason = fault or "the item has no label"
            self.rejected.add(place.path, place.label, reason)
            return
        self.places.add(place, place.label, hashlib.sha256(content).digest(), content)
        if self.signatures is not None:
            self.signatures.add(content, mark)
        for note in found:
            self.notes.add(note, place.path)

    def plain(self, rows: Sequence[Sequence[Any]]) -> list[bytes] | None:
        """Return the contents of rows if nothing is to be said about them: their labels are known.

        Labels that are not strings are never known, because their form may change.
        """
        known = self.places.label_codes
        try:
            if not all(label.__class__ is str and label in known for _, label in rows):
                return None
            contents = [text.encode() for text, _ in rows]
        except (AttributeError, UnicodeEncodeError):
            return None
        return contents if Texts.are_plain(contents) else None

    def extend(self, paths: list[str], labels: list[str], contents: list[bytes]) -> None:
        """Add several texts about which nothing is to be said."""
        sha256 = hashlib.sha256
        ids = b"".join([sha256(content).digest() for content in contents])
        self.places.extend(paths, labels, ids, contents)
        if self.signatures is not None:
            self.signatures.extend(contents)


def _concluded(
    begun: DataAnalysis,
    options: SnapshotOptions,
    earlier: Earlier | None,
    signatures: Signatures | None,
) -> DataAnalysis:
    """Return the analysis of all places that were read: classes, splits and faults."""
    places, rejected, source = begun.places, begun.rejected, begun.source
    kept, items = _without_conflicts(places, rejected)
    labels = tuple(places.label_codes)
    sizes = np.bincount(places.labels[items], minlength=len(labels)).tolist()
    findings = [*source.findings, *label_findings(_sizes(labels, sizes), source.column)]
    findings += _rejection_findings(rejected, source, begun.seen)
    faults = [*_refused(findings)]
    _collect(faults, lambda: _check_rejected(rejected, begun.seen, options.max_rejected_fraction))
    _collect(faults, lambda: check_classes(labels, places.labels[items]))
    found = None
    splits: Codes = np.empty(0, np.int8)
    if len(items):
        found = split_items(places, kept, items, options, earlier, signatures)
        splits = found.codes
        for index in items[splits == LEFT_OUT]:
            label = labels[places.labels[index]]
            rejected.add(places.paths(np.array([index]))[0], label, LEFT_OUT_REASON)
        is_in = splits != LEFT_OUT
        if not is_in.all():
            items, splits = items[is_in], splits[is_in]
            kept = kept[np.isin(places.ids[kept], places.ids[items])]
    counts = count_classes(labels, places.labels[items], splits)
    if len(labels) > 1:
        if options.respect_splits or options.validation_fraction or options.test_fraction:
            _collect(faults, lambda: check_splits(counts, options.respect_splits))
        if found is not None:
            check = partial(_check_test_split, labels, places, found)
            _collect(faults, lambda: check(counts["test"], options))
    return replace(
        begun,
        labels=labels,
        kept=kept,
        items=items,
        splits=splits,
        found=found,
        counts=counts,
        findings=(*findings, *_split_findings(counts, options)),
        faults=tuple(faults),
    )


def _sizes(labels: tuple[str, ...], sizes: list[int]) -> dict[str, int]:
    return dict(zip(labels, sizes, strict=True))


def _collect(faults: list[BlocksError], check: Callable[[], None]) -> None:
    try:
        check()
    except BlocksError as error:
        faults.append(error)


def _refused(findings: list[Finding]) -> Iterator[BlocksError]:
    for each in findings:
        if each.level == "fault":
            remedy = each.remedy[:1].upper() + each.remedy[1:]
            yield BlocksError(STEP_NAME, each.what, each.problem, each.expected, remedy)


def _without_conflicts(places: ItemPlaces, rejected: RejectedWriter) -> tuple[Indexes, Indexes]:
    """Reject contradictory contents; return the other places, and the first of each content."""
    if not len(places.ids):
        return NOTHING, NOTHING
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


def _rejection_findings(
    rejected: RejectedWriter, source: DataSource, seen: int
) -> Iterator[Finding]:
    """Yield what several rejected rows mean together."""
    column = source.column or "label"
    for fate in rejected.reasons.fates():
        is_most = fate.count * 2 > seen
        if fate.reason == A_LIST:
            yield Finding(
                "several-labels",
                "fault" if is_most else "warning",
                f"the column {column} contains lists of labels (multi-label data) in {fate.count} "
                "rows",
                "a model has one class for each item: write one label in each row of the column "
                f"{column}, {SEVERAL_REMEDY}",
                column,
                "one label in each row",
                fate.examples,
            )
        elif fate.reason == A_FLOAT and is_most:
            yield Finding(
                "regression-target",
                "fault",
                f"the column {column} contains fractions in {fate.count} rows, which looks like a "
                "measured quantity (a regression target), not a class",
                REGRESSION_REMEDY,
                "label_column",
                "a few classes",
                fate.examples,
            )
        elif AN_ADDRESS in fate.reason:
            yield Finding(
                "addresses",
                "warning",
                f"{fate.count} rows have an address in the column path, not the path of a file",
                "download the files next to the table, and write their paths into the column path",
                "path",
                "",
                fate.examples,
            )
        elif _BAD_ENCODING in fate.reason and source.table is not None:
            name = source.table.name
            yield Finding(
                "encoding",
                "warning",
                f"{fate.count} rows of {name} are not UTF-8",
                f"if the table is in Latin-1, run `iconv -f WINDOWS-1252 -t UTF-8` on {name}",
                name,
                "",
                fate.examples,
            )


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


def _split_findings(counts: dict[str, dict[str, int]], options: SnapshotOptions) -> list[Finding]:
    if options.respect_splits:
        fractions, remedy = dict.fromkeys(SPLITS, 1.0), "add items to this split"
    else:
        shares = (1.0, options.validation_fraction, options.test_fraction)
        fractions = dict(zip(SPLITS, shares, strict=True))
        remedy = "set another split_salt or add items"
    found = split_warnings(counts, fractions)
    return [Finding("splits-without-items", "warning", problem, remedy) for problem in found]
