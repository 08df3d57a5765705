"""Places to score: those of a snapshot, or the files or rows of what need not be labelled."""

import hashlib
import zlib
from array import array
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow.parquet as pq

from tfhub_blocks.compute.data.data_sources import DataSource, ItemPlace, open_source
from tfhub_blocks.compute.data.fields import STEP_NAME
from tfhub_blocks.compute.data.place_contents import read_contents
from tfhub_blocks.compute.modalities.modality import Limits, Modality
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME
from tfhub_blocks.records.formats.features import ids_of
from tfhub_blocks.records.formats.snapshots import SOURCES_NAME, open_snapshot

WHERE, PORT = "score_batch", "data"


@dataclass(frozen=True, slots=True)
class ScoringRow:
    """One place: where it is, the digest of its content, the content, or why there is none.

    There is no content where nobody wants it, either.
    """

    path: str
    item: str | None
    content: bytes | None
    fault: str | None = None


Wanted = Callable[[str], bool]


class ScoringRows(Protocol):
    """All places of some data, in an order that is theirs, named by their numbers."""

    modality: str
    total: int
    key: str
    """Differs where the order or the number of places does."""

    def read(self, spans: Iterable[range], wanted: Wanted) -> Generator[ScoringRow, None, None]:
        """The places of some rising spans; of contents those whose ids are wanted, once a span."""

    def changed(self, spans: Sequence[range], ids: Iterable[Sequence[str | None]]) -> set[range]:
        """The spans whose places have other contents than these, by their ids."""


def open_places(path: Path, modality: str, limits: Limits) -> ScoringRows:
    """The places of a snapshot, a folder or a table.

    Args:
        path: Where it is.
        modality: What the model takes; ``bytes`` if it takes whatever there is.
        limits: The largest items to take of what is no snapshot.

    Raises:
        BlocksError: It is none of them, or holds items of another modality.
    """
    if (path / STATEMENT_NAME).is_file():
        places: ScoringRows = SnapshotPlaces(path)
    else:
        places = SourcePlaces(path, modality, limits)
    if modality not in (places.modality, Modality.name):
        raise BlocksError(
            WHERE,
            PORT,
            f"its items are {places.modality}, the model takes {modality}",
            "the same modality",
            f"give a model of {places.modality} or data of {modality}",
        )
    return places


class SnapshotPlaces:
    """Where a snapshot's items were found, in the order of ids; the first place of a content first.

    Memory holds ids and paths, and no contents.
    """

    def __init__(self, path: Path) -> None:
        self._snapshot = open_snapshot(path, WHERE)
        self._sources = pq.read_table(self._snapshot.folder.file(SOURCES_NAME)).combine_chunks()
        found = ids_of(self._sources["id"])
        known = ids_of(self._snapshot.index()["id"])
        self._positions = np.searchsorted(known, found)
        self.modality = self._snapshot.manifest.modality
        self.total = len(found)
        self.key = self._snapshot.manifest.digest

    def read(self, spans: Iterable[range], wanted: Wanted) -> Generator[ScoringRow, None, None]:
        """As ``ScoringRows``."""
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
        """None: a snapshot cannot."""
        return set()


class SourcePlaces:
    """Files below a folder, or rows of a table, in order of paths or rows; read anew each time.

    A place costs four bytes of memory, and its path where it is a file.
    """

    def __init__(self, path: Path, modality: str, limits: Limits) -> None:
        self._path, self._modality, self._limits = path, modality, limits
        source = self._open()
        self.modality = source.modality
        digest, self._marks = hashlib.sha256(), array("I")
        with _said_here():
            for place in source.places:
                mark = _mark(place)
                digest.update(mark)
                self._marks.append(zlib.crc32(mark))
        self.total, self.key = len(self._marks), digest.hexdigest()
        if not self.total:
            raise BlocksError(
                WHERE, PORT, "the table has no rows", "a row for each item", "check the table"
            )

    def read(self, spans: Iterable[range], wanted: Wanted) -> Generator[ScoringRow, None, None]:
        """As ``ScoringRows``; all contents are read, for nothing else tells their ids.

        Raises:
            BlocksError: Files or rows have come or gone.
        """
        source = self._open()
        chosen = replace(source, places=self._chosen(source.places, spans))
        for place, content, fault in read_contents(chosen, self._limits, is_decoded=False):
            item = hashlib.sha256(content).hexdigest() if content else None
            is_asked = item is not None and fault is None and wanted(item)
            yield ScoringRow(place.path, item, content if is_asked else None, fault)

    def changed(self, spans: Sequence[range], ids: Iterable[Sequence[str | None]]) -> set[range]:
        """As ``ScoringRows``."""
        rows = self.read(spans, lambda _: False)
        return {
            span
            for span, known in zip(spans, ids, strict=True)
            if [next(rows).item for _ in span] != list(known)
        }

    def _open(self) -> DataSource:
        with _said_here():
            return open_source(self._path, self._modality, is_labelled=False)

    def _chosen(self, places: Iterator[ItemPlace], spans: Iterable[range]) -> Iterator[ItemPlace]:
        """The places of some spans, each held against what was there at first."""
        at = 0
        with _said_here():
            for span in spans:
                for number in range(at, span.stop):
                    place = next(places, None)
                    if place is None or zlib.crc32(_mark(place)) != self._marks[number]:
                        raise BlocksError(
                            WHERE,
                            PORT,
                            f"place {number + 1} is another than when the step began",
                            "data that stays as it is while it is scored",
                            "run again; what was scored and is still there is kept",
                        )
                    if number >= span.start:
                        yield place
                at = span.stop


def _mark(place: ItemPlace) -> bytes:
    """What tells a place from others; of a text its content, too."""
    content = place.content if isinstance(place.content, bytes) else b""
    return place.path.encode() + b"\0" + content + b"\0"


@contextmanager
def _said_here() -> Iterator[None]:
    """Errors of those who read sources for snapshots, as this step's."""
    try:
        yield
    except BlocksError as error:
        if error.where != STEP_NAME:
            raise
        raise BlocksError(WHERE, PORT, error.problem, error.expected, error.remedy) from error
