"""Things that are withdrawn, and the search for outputs that depend on them."""

# decision 65

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import yaml

from tfhub_blocks.records.base.arrow_bounds import open_arrow
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Lineage, read_lineage
from tfhub_blocks.records.base.parquet_bounds import read_bounded
from tfhub_blocks.records.formats.champion_comparison import CHAMPION_PORT
from tfhub_blocks.records.formats.data_versions import CHILD_FACT
from tfhub_blocks.records.formats.locked_expectations import LOCKED_FACT
from tfhub_blocks.records.formats.predictions import FORMAT as PREDICTIONS
from tfhub_blocks.records.formats.predictions import open_predictions
from tfhub_blocks.records.formats.snapshots import INDEX_NAME, MANIFEST_NAME
from tfhub_blocks.records.formats.withdrawals import NAME_DIGITS, VARIABLE, Withdrawal, in_force

# records/pins/pins.py
_PIN_NAME = "encoder.toml"
_MODEL_NAME = "MLmodel"
_DIGITS = 16
# A version of an asset that tfhub-blocks published: the first digits of its digest.
_VERSION = re.compile(rf"[0-9a-f]{{{NAME_DIGITS}}}")
# Linux passes no longer variable to a process.
_MOST_CHARACTERS = 120_000


@dataclass(frozen=True)
class Mark:
    """A sign of something withdrawn: a digest, an item, a licence, or a version of data.

    ``value`` of a digest or an item may be its first 16 digits. ``about`` names the withdrawal.
    """

    kind: str
    value: str
    about: str


class Withdrawn:
    """The withdrawals in force, and the search for what depends on them.

    Example::

        found = Withdrawn.of(statements).in_folder(Path("outputs/model"))
    """

    def __init__(self, marks: Iterable[Mark] = ()) -> None:
        self._marks = tuple(dict.fromkeys(marks))
        self._by_value: dict[tuple[str, str], Mark] = {}
        for mark in self._marks:
            self._by_value.setdefault((mark.kind, _shortened(mark)), mark)
            version = mark.value.rpartition(":")[2] if mark.kind == "data" else ""
            if _VERSION.fullmatch(version):
                self._by_value.setdefault(("version", version), mark)

    @classmethod
    def of(cls, statements: Iterable[Withdrawal]) -> "Withdrawn":
        """Return the set of some statements, without those that a later statement ends."""
        return cls(
            mark
            for it in in_force(statements)
            for mark in _marks(it, (*it.digests, *it.affected), str(it))
        )

    @classmethod
    def for_steps(cls, statements: Iterable[Withdrawal]) -> "Withdrawn":
        """Return the set that steps get: without affected outputs, and with digests for reasons."""
        return cls(
            mark
            for it in in_force(statements)
            for mark in _marks(it, it.digests, it.digest[:NAME_DIGITS])
        )

    def with_digests(self, digests: Iterable[str], about: str) -> "Withdrawn":
        """Return this set with some more digests."""
        return Withdrawn([*self._marks, *(Mark("digest", it, about) for it in sorted(digests))])

    def __bool__(self) -> bool:
        """Return True if something is withdrawn."""
        return bool(self._marks)

    def as_text(self, where: str) -> str:
        """Return the text of the variable for steps; empty if nothing is withdrawn.

        Raises:
            BlocksError: The text is longer than a variable can be.
        """
        words = [
            f"{it.kind}:{quote(_shortened(it), safe='')}:{quote(it.about, safe='')}"
            for (kind, _), it in self._by_value.items()
            if kind == it.kind
        ]
        text = " ".join(words)
        if len(text) > _MOST_CHARACTERS:
            raise BlocksError(
                where,
                VARIABLE,
                f"the withdrawals in force have {len(words)} signs, more than a step can get",
                f"at most {_MOST_CHARACTERS} characters",
                "Withdraw the data version that contains the items, instead of each item",
            )
        return text

    @classmethod
    def parse(cls, text: str) -> "Withdrawn":
        """Parse the text of the variable.

        Raises:
            ValueError: The text has another form.
        """
        marks = []
        for word in text.split():
            kind, value, about = word.split(":")
            if kind not in ("digest", "item", "licence", "data"):
                raise ValueError(f"the kind {kind!r} is unknown")
            marks.append(Mark(kind, unquote(value), unquote(about)))
        return cls(marks)

    def of_digests(self, digests: Iterable[str]) -> Mark | None:
        """Return the sign that one of some digests is withdrawn, or None."""
        return self._first("digest", (it[:_DIGITS] for it in digests if len(it) >= _DIGITS))

    def of_version(self, name: str, version: str) -> Mark | None:
        """Return the sign that a version of an asset is withdrawn, by its name or its digest."""
        named = self._first("data", [f"{name}:{version}"])
        if named or not _VERSION.fullmatch(version):
            return named
        return next(
            (it for it in self._marks if it.kind == "digest" and it.value.startswith(version)),
            None,
        )

    def of_licence(self, text: str) -> Mark | None:
        """Return the sign that a licence is withdrawn which a notice names, or None."""
        return next(
            (it for it in self._marks if it.kind == "licence" and names_licence(text, it.value)),
            None,
        )

    def of_items(self, ids: pa.ChunkedArray | pa.Array) -> Mark | None:
        """Return the sign that one of some items is withdrawn, or None."""
        items = {it.value[:_DIGITS] for it in self._marks if it.kind == "item"}
        if not items:
            return None
        starts = pc.utf8_slice_codeunits(ids, 0, _DIGITS)
        found = starts.filter(pc.is_in(starts, pa.array(sorted(items), pa.string())))
        return self._first("item", found.slice(0, 1).to_pylist())

    def in_folder(self, folder: Path) -> Mark | None:
        """Return the sign that a finished or begun output depends on something withdrawn.

        The folder's own statement, pin, manifest and items are read, and not its upstream outputs.

        Raises:
            BlocksError: The statement or the pin cannot be read.
        """
        if not self._marks or not folder.is_dir():
            return None
        lineage = read_lineage(folder) if (folder / STATEMENT_NAME).is_file() else None
        found = self.in_lineage(lineage) if lineage else None
        return found or next(filter(None, self._in_content(folder, lineage)), None)

    def in_lineage(self, lineage: Lineage) -> Mark | None:
        """Return the sign that an output or an input of its step is withdrawn, or None."""
        made = lineage.provenance
        inputs = [it.digest for it in made.materials if it.name != CHAMPION_PORT]
        locked = made.facts.get(LOCKED_FACT)
        if isinstance(locked, Mapping):
            inputs += [str(it) for port, it in locked.items() if port != CHAMPION_PORT]
        makings = [it.making for it in made.materials if it.name != CHAMPION_PORT]
        found = self.of_digests(
            [lineage.digest, lineage.making, *filter(None, inputs), *filter(None, makings)]
        )
        for digest in filter(None, inputs):  # the version of an asset begins its digest
            found = found or self._first("version", [digest[:NAME_DIGITS]])
        child = made.facts.get(CHILD_FACT)
        if found is None and isinstance(child, Mapping):
            found = self.of_version(str(child.get("name")), str(child.get("version")))
            found = found or self.of_digests([str(child.get("content"))])
        return found

    def _in_content(self, folder: Path, lineage: Lineage | None) -> Iterator[Mark | None]:
        if (folder / _PIN_NAME).is_file():
            record = _record(folder / _PIN_NAME)
            yield self.of_digests([str(record.get("digest", ""))])
            yield self.of_licence(str(record.get("licence", "")))
        if (folder / INDEX_NAME).is_file():
            with pa.memory_map(str(folder / INDEX_NAME)) as file:
                yield self.of_items(open_arrow(file, folder / INDEX_NAME).read_all()["id"])
        if (folder / MANIFEST_NAME).is_file():
            record = _record(folder / MANIFEST_NAME)
            yield self.of_digests([str(record.get("digest", ""))])
            yield self.of_licence(str(record.get("attribution", "")))
        if (folder / _MODEL_NAME).is_file():
            record = _record(folder / _MODEL_NAME).get("metadata") or {}
            names = ("encoder_digest", "snapshot_digest")
            yield self.of_digests([str(record.get(it, "")) for it in names])
        if lineage and lineage.format == str(PREDICTIONS) and self._has("item"):
            for path in open_predictions(folder, "withdraw").files():
                ids = read_bounded(path, columns=["id"])["id"]
                yield self.of_items(ids)

    def _has(self, kind: str) -> bool:
        return any(it.kind == kind for it in self._marks)

    def _first(self, kind: str, values: Iterable[str]) -> Mark | None:
        found = (self._by_value.get((kind, value)) for value in values)
        return next(filter(None, found), None)


def names_licence(text: str, licence: str) -> bool:
    """Return True if a notice names a licence, as a word of its own in any case of letters."""
    told, wanted = (" ".join(it.split()).casefold() for it in (text, licence))
    return bool(wanted and re.search(rf"(?<![\w-]){re.escape(wanted)}(?![\w-])", told))


def refuse_withdrawn(where: str, what: str, found: Mark | None) -> None:
    """Refuse something that depends on a withdrawn thing; do nothing for None.

    Raises:
        BlocksError: Something withdrawn was found.
    """
    if found is None:
        return
    is_digest = re.fullmatch(rf"[0-9a-f]{{{NAME_DIGITS}}}", found.about)
    told = f"something that withdrawal {found.about} names" if is_digest else found.about
    raise BlocksError(
        where,
        what,
        f"{what} depends on {told}",
        "nothing that is withdrawn",
        "Use other data, encoders and models; `tfhub-blocks lineage --forward NAME` lists"
        " everything that was built from the withdrawn one",
    )


def _marks(it: Withdrawal, digests: Iterable[str], about: str) -> Iterator[Mark]:
    if it.kind in ("item", "licence", "data"):
        yield Mark(it.kind, it.name, about)
    for digest in digests:
        yield Mark("digest", digest, about)


def _shortened(mark: Mark) -> str:
    return mark.value[:_DIGITS] if mark.kind in ("digest", "item") else mark.value


def _record(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        if path.name == _PIN_NAME:
            return tomllib.loads(text)
        record: Any = yaml.safe_load(text) if path.name == _MODEL_NAME else json.loads(text)
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}  # the reader of the output reports the fault
    return record if isinstance(record, Mapping) else {}
