"""Inspections of sources: the fate of every file, the classes, and what looks wrong."""

# decision 59

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_blocks.compute.data.data_analysis import DataAnalysis, analyse, open_with
from tfhub_blocks.compute.data.data_sources import (
    BESIDE_TABLE,
    NOT_NAMED,
    PATH_TABLE,
)
from tfhub_blocks.compute.data.fields import known_path
from tfhub_blocks.compute.data.inspection_page import gallery_of, render_inspection
from tfhub_blocks.compute.data.item_places import ItemPlaces, RejectedWriter
from tfhub_blocks.compute.data.near_duplicates import Signatures
from tfhub_blocks.compute.data.snapshot_options import OFF, SnapshotOptions
from tfhub_blocks.compute.data.snapshot_splits import earlier_splits
from tfhub_blocks.compute.data.source_files import HIDDEN, every_file, is_hidden
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.inspections import (
    EXAMPLES,
    DataInspection,
    Finding,
    Tally,
)

NOT_READ = "not read, because the data set is refused"
UNKNOWN = "a layout that is not understood"


def inspect_source(
    source: Path,
    options: SnapshotOptions,
    progress: Callable[[int, int | None], None],
    page: Path | None = None,
) -> DataInspection:
    """Return how ``snapshot_data`` understands a source; nothing of the source is copied.

    Contents are read once and decoded once. Numbers about the items are in memory; texts of a table
    and signatures are in temporary files.

    Args:
        source: A folder, or a table.
        options: The options of the snapshot.
        progress: Called with the number of places read, and their total if known.
        page: The file for the inspection as a page of HTML.
    """
    try:
        found = open_with(source, options)
        before = earlier_splits(options.previous)
    except BlocksError as error:
        inspection = _refused(source, options, error)
        if page is not None:
            page.write_text(render_inspection(inspection, str(source), ()), encoding="utf-8")
        return inspection
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        root = source if source.is_dir() else source.parent
        keeps = page is not None or options.near_duplicates != OFF
        places = stack.enter_context(ItemPlaces(folder, root, keeps))
        rejected = stack.enter_context(RejectedWriter(folder))
        signatures = None
        if options.near_duplicates != OFF:
            signatures = stack.enter_context(Signatures(found.modality, folder))
        done = analyse(found, options, before, places, rejected, signatures, progress)
        inspection = inspection_of(done, options, source)
        if page is not None:
            shown = gallery_of(done)
            page.write_text(render_inspection(inspection, str(source), shown), encoding="utf-8")
    return inspection


def inspection_of(done: DataAnalysis, options: SnapshotOptions, source: Path) -> DataInspection:
    """Return the inspection of an analysed source."""
    files, others = _files(done, source)
    twins = len(done.found.twins()) if done.found is not None else 0
    warnings = [*done.source.links.warnings()]
    warnings += done.found.warnings(twins) if done.found is not None else ()
    known = {each.problem: each for each in done.findings if each.level == "fault"}
    findings = [
        *(known.get(error.problem) or _fault(error) for error in done.faults),
        *(each for each in done.findings if each.level != "fault"),
        *(Finding("near-duplicates" if "near" in text else "splits", "warning", text)
          for text in warnings),
        *(
            Finding("properties", "warning", f"{note.count} items {note.reason}", "", "source", "",
                    note.examples)
            for note in sorted(done.notes, key=lambda note: note.reason)
        ),
    ]  # fmt: skip
    return DataInspection(
        modality=done.source.modality,
        layout=done.source.layout,
        options=_options(options),
        files=files,
        rows=done.seen if done.source.table is not None else None,
        items=len(done.items),
        copies=len(done.kept) - len(done.items),
        rejected=done.rejected.reasons.fates(),
        others=others.fates(),
        counts=done.counts,
        findings=tuple(sorted(findings, key=lambda each: _ORDER[each.level])),
        near_duplicates=_near(done) if options.near_duplicates != OFF else None,
        properties={note.reason: note.count for note in done.notes},
    )


_ORDER = {"fault": 0, "warning": 1, "note": 2}


def _refused(source: Path, options: SnapshotOptions, error: BlocksError) -> DataInspection:
    """Return the inspection of a source whose layout is refused: no file was read."""
    others = Tally()
    for name in every_file(source) if source.is_dir() else [source.name] * source.exists():
        others.add(HIDDEN if is_hidden(name) else NOT_READ, known_path(name))
    return DataInspection(
        modality=None,
        layout=UNKNOWN,
        options=_options(options),
        files=others.total(),
        rows=None,
        items=0,
        copies=0,
        others=others.fates(),
        findings=(_fault(error),),
    )


def _fault(error: BlocksError) -> Finding:
    """Return an error as a finding; its kind is the parameter."""
    return Finding(
        "layout" if error.what == "source" else error.what,
        "fault",
        error.problem,
        error.remedy,
        error.what,
        error.expected,
    )


def _options(options: SnapshotOptions) -> Mapping[str, Any]:
    """Return the options that differ from their defaults."""
    changed = {
        each.name: getattr(options, each.name)
        for each in fields(options)
        if getattr(options, each.name) != each.default
    }
    return {name: str(v) if isinstance(v, Path) else v for name, v in changed.items()}


def _files(done: DataAnalysis, source: Path) -> tuple[int, Tally]:
    """Return the number of all files, and those that are no items."""
    found = done.source.files
    if found is not None:
        unread = len(found.files) + found.others.count(HIDDEN) - found.others.total() - done.seen
        if unread > 0:
            found.others.add(NOT_READ, "", unread)
        return found.others.total() + done.seen, found.others
    return _files_of_table(done, source, done.source.table or source)


def _files_of_table(done: DataAnalysis, source: Path, table: Path) -> tuple[int, Tally]:
    """Return the number of files: the table, the files that rows name, and others in a folder."""
    others = Tally()
    has_paths = done.source.layout == PATH_TABLE
    names = np.empty(0, np.int64)
    if has_paths:
        rejected = np.frombuffer(done.rejected.name_hashes, np.int64)
        names = np.unique(np.concatenate([done.places.name_hashes(), rejected]))
    if not source.is_dir():
        named = len(np.unique(done.places.name_hashes())) if has_paths else 0
        return 1 + named, others
    files = 0
    for files, name in enumerate(every_file(source), start=1):  # noqa: B007
        shown = known_path(name)
        at = int(np.searchsorted(names, hash(shown)))
        is_named = at < len(names) and names[at] == hash(shown)
        if name == table.name or is_named:
            continue
        reason = HIDDEN if is_hidden(name) else NOT_NAMED if has_paths else BESIDE_TABLE
        others.add(reason, shown)
    return files, others


def _near(done: DataAnalysis) -> Mapping[str, Any]:
    """Return numbers and examples of near duplicates."""
    if done.found is None:
        return {"items": 0, "groups": 0, "examples": []}
    sizes = np.bincount(done.found.near, minlength=1)
    examples = [
        list(done.places.paths(done.found.items[pair])) for pair in done.found.pairs[:EXAMPLES]
    ]
    return {
        "items": int(sizes[sizes > 1].sum()),
        "groups": int((sizes > 1).sum()),
        "examples": examples,
    }
