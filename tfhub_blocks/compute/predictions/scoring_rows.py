"""Places to score: the items of a snapshot, or the files or rows of unlabelled data."""

# decision 39

import hashlib
import zlib
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from tfhub_blocks.compute.data.data_sources import DataSource, ItemPlace, open_source
from tfhub_blocks.compute.data.fields import STEP_NAME
from tfhub_blocks.compute.data.place_contents import read_contents
from tfhub_blocks.compute.modalities.modality import Limits, Modality
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME
from tfhub_blocks.records.base.parquet_bounds import read_bounded
from tfhub_blocks.records.formats.features import ids_of
from tfhub_blocks.records.formats.snapshots import SOURCES_NAME, open_snapshot

WHERE, PORT = "score_batch", "data"


@dataclass(frozen=True, slots=True)
class ScoringRow:
    """One place: its path, the digest of its content, and the content or the reason for a fault.

    ``content`` is also None if the caller did not want the content.
    """

    path: str
    item: str | None
    content: bytes | None
    fault: str | None = None


Wanted = Callable[[str], bool]


class ScoringRows(Protocol):
    """All places of some data, in a fixed order, identified by their numbers."""

    modality: str
    total: int
    key: str
    """An identifier of the places: other places or another order give another key."""
    warnings: list[str]
    """Sentences about files outside of the data that were read through links."""

    def read(self, spans: Iterable[range], wanted: Wanted) -> Generator[ScoringRow, None, None]:
        """Yield the places of some rising spans.

        Rows contain only contents whose ids are wanted, and each content once in a span.
        """

    def changed(self, spans: Sequence[range], ids: Iterable[Sequence[str | None]]) -> set[range]:
        """Return the spans in which the ids of contents differ from the ids passed."""


def open_places(
    path: Path, modality: str, limits: Limits, follow_links: bool = False
) -> ScoringRows:
    """Open the places of a snapshot, a folder or a table.

    Args:
        path: The path of the data.
        modality: The modality of the model; ``bytes`` if the model takes any content.
        limits: The limits on the size of items of a folder or a table.
        follow_links: True to read files outside of the data to which links lead.

    Raises:
        BlocksError: The path is none of these, or contains items of another modality.
    """
    if (path / STATEMENT_NAME).is_file():
        places: ScoringRows = SnapshotPlaces(path)
    else:
        places = SourcePlaces(path, modality, limits, follow_links)
    if modality not in (places.modality, Modality.name):
        raise BlocksError(
            WHERE,
            PORT,
            f"the items are of modality {places.modality}, but the model takes {modality}",
            "equal modalities of data and model",
            f"Pass a model for {places.modality}, or data of modality {modality}",
        )
    return places


class SnapshotPlaces:
    """The places of a snapshot's items, in the order of ids, then in the order of the source.

    Memory contains ids and paths, but no contents.
    """

    def __init__(self, path: Path) -> None:
        self.warnings: list[str] = []
        self._snapshot = open_snapshot(path, WHERE)
        self._sources = read_bounded(self._snapshot.folder.file(SOURCES_NAME)).combine_chunks()
        found = ids_of(self._sources["id"])
        known = ids_of(self._snapshot.index()["id"])
        self._positions = np.searchsorted(known, found)
        self.modality = self._snapshot.manifest.modality
        self.total = len(found)
        self.key = self._snapshot.manifest.digest

    def read(self, spans: Iterable[range], wanted: Wanted) -> Generator[ScoringRow, None, None]:
        """Yield the places of some rising spans; see ``ScoringRows``."""
        for span in spans:
            part = self._sources.slice(span.start, len(span))
            ids, paths = part["id"].to_pylist(), part["path"].to_pylist()
            first = [n == 0 or item != ids[n - 1] for n, item in enumerate(ids)]
            asked = [new and wanted(item) for new, item in zip(first, ids, strict=True)]
            positions = self._positions[span.start : span.stop][np.array(asked, bool)]
            contents = self._snapshot.contents(positions)
            for path, item, is_asked in zip(paths, ids, asked, strict=True):
                yield ScoringRow(path, item, next(contents)[1] if is_asked else None)

    def changed(
        self,
        spans: Sequence[range],  # noqa: ARG002
        ids: Iterable[Sequence[str | None]],  # noqa: ARG002
    ) -> set[range]:
        """Return no span, because a snapshot cannot change."""
        return set()


class SourcePlaces:
    """The files below a folder, or the rows of a table, in the order of paths or rows.

    The data are read again each time. A place needs four bytes of memory, and a file its path.
    """

    def __init__(
        self, path: Path, modality: str, limits: Limits, follow_links: bool = False
    ) -> None:
        self._path, self._modality, self._limits = path, modality, limits
        self._follow_links = follow_links
        source = self._open()
        self.modality = source.modality
        digest, self._marks = hashlib.sha256(), array("I")
        with _errors_of_this_step():
            for place in source.places:
                mark = _mark(place)
                digest.update(mark)
                self._marks.append(zlib.crc32(mark))
        self.total, self.key = len(self._marks), digest.hexdigest()
        self.warnings = source.links.warnings()
        if not self.total:
            remedy = "Add rows to the table, or pass another table"
            raise BlocksError(WHERE, PORT, "the table has no rows", "a row for each item", remedy)

    def read(self, spans: Iterable[range], wanted: Wanted) -> Generator[ScoringRow, None, None]:
        """Yield the places of some rising spans; see ``ScoringRows``.

        Every content is read, because its id is a hash of the content.

        Raises:
            BlocksError: Files or rows were added or removed since the start.
        """
        source = self._open()
        chosen = replace(source, places=self._chosen(source.places, spans))
        for place, content, fault in read_contents(chosen, self._limits, is_decoded=False):
            item = hashlib.sha256(content).hexdigest() if content else None
            is_asked = item is not None and fault is None and wanted(item)
            yield ScoringRow(place.path, item, content if is_asked else None, fault)

    def changed(self, spans: Sequence[range], ids: Iterable[Sequence[str | None]]) -> set[range]:
        """Return the spans in which ids of contents differ; see ``ScoringRows``."""
        rows = self.read(spans, lambda _: False)
        return {
            span
            for span, known in zip(spans, ids, strict=True)
            if [next(rows).item for _ in span] != list(known)
        }

    def _open(self) -> DataSource:
        with _errors_of_this_step():
            return open_source(
                self._path, self._modality, is_labelled=False, follow_links=self._follow_links
            )

    def _chosen(self, places: Iterator[ItemPlace], spans: Iterable[range]) -> Iterator[ItemPlace]:
        """Yield the places of some spans, and check that each is the place found at the start."""
        at = 0
        with _errors_of_this_step():
            for span in spans:
                for number in range(at, span.stop):
                    place = next(places, None)
                    if place is None or zlib.crc32(_mark(place)) != self._marks[number]:
                        raise BlocksError(
                            WHERE,
                            PORT,
                            f"item {number + 1} has changed since the step began",
                            "data that does not change during scoring",
                            "Run the step again; answers for unchanged items are kept",
                        )
                    if number >= span.start:
                        yield place
                at = span.stop


def _mark(place: ItemPlace) -> bytes:
    """Return the bytes that identify a place: its path and, for a text, its content."""
    content = place.content if isinstance(place.content, bytes) else b""
    return place.path.encode() + b"\0" + content + b"\0"


@contextmanager
def _errors_of_this_step() -> Iterator[None]:
    """Raise the errors of the reader of snapshot sources as errors of this step."""
    try:
        yield
    except BlocksError as error:
        if error.where != STEP_NAME:
            raise
        raise BlocksError(WHERE, PORT, error.problem, error.expected, error.remedy) from error
