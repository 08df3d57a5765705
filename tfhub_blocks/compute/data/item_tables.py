"""Tables of items: CSV, JSON Lines and Parquet files with texts or paths, read row by row.

Rows are counted from one, without the header. Strings that are not valid UTF-8 are returned with
surrogates (PEP 383), so that one bad row does not make the whole table unreadable.
"""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from tfhub_blocks.compute.data.fields import refusal
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.parquet_bounds import TableBoundError, batch_rows

PARQUET_BATCH_ROWS = 256
PARQUET_BUFFER_BYTES = 2**20
# The longest CSV field, so that a quote that is never closed cannot contain a whole table.
MAX_FIELD_CHARACTERS = 2**25
# The longest row of a CSV or JSON Lines file.
MAX_RECORD_CHARACTERS = 2**26
# A bounded table is read in blocks of so many characters.
BLOCK_CHARACTERS = 2**16
# The bytes at the start of a table by which its encoding is known.
HEAD_BYTES = 2**12

Rows = Iterator[Sequence[Any]]


@dataclass(frozen=True)
class ItemTable:
    """A table file: its columns, and its number of rows if that is cheap to find out."""

    path: Path
    columns: tuple[str, ...]
    rows: int | None

    @property
    def is_typed(self) -> bool:
        """False for CSV, whose values are all strings."""
        return self.path.suffix.lower() != ".csv"

    def read(self, columns: Sequence[str]) -> Rows:
        """Yield the values of some columns, row by row, in constant memory.

        A missing value is None.

        Raises:
            BlocksError: The table is malformed. The message contains the line or row.
        """
        return _READERS[self.path.suffix.lower()](self.path, columns)


def is_table(path: Path) -> bool:
    """Return True if a file has the extension of a table."""
    return path.suffix.lower() in _READERS


def open_table(path: Path) -> ItemTable:
    """Open a table and read the names of its columns.

    Raises:
        BlocksError: The table is empty or malformed, or has two columns of the same name.
    """
    suffix = path.suffix.lower()
    rows: int | None = None
    with path.open("rb") as file:
        _check_head(path, file.read(HEAD_BYTES))
    if suffix == ".parquet":
        with _parquet(path) as parquet:
            columns, rows = list(parquet.schema_arrow.names), parquet.metadata.num_rows
    elif suffix == ".csv":
        columns = _csv_header(path)
    else:
        # A row may omit keys, so only all rows together define the columns.
        rows, found = 0, dict[str, None]()
        for record in _json_records(path):
            found.update(dict.fromkeys(record))
            rows += 1
        columns = list(found)
    if not columns:
        raise malformed(path, "is empty", "a header and rows")
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise malformed(path, f"has the column {twice[0]!r} twice", "each column once")
    return ItemTable(path, tuple(columns), rows)


def malformed(path: Path, problem: str, expected: str) -> BlocksError:
    """Return the error for a table that cannot be read."""
    return refusal(f"the table {path.name} {problem}", expected, f"Correct {path.name}")


def _check_head(path: Path, head: bytes) -> None:
    """Refuse a table that is no text in UTF-8, and pointers to files that were not fetched."""
    if is_pointer(head):
        raise refusal(
            f"the table {path.name} is a Git LFS pointer, not the table",
            "the content of the table",
            "Run `git lfs pull` in its repository",
        )
    if path.suffix.lower() == ".parquet":
        return
    if encoding := _wide_encoding(head):
        mark = "" if head.startswith(_MARKS) else " without a byte-order mark"
        name = encoding.removesuffix("-LE").removesuffix("-BE")
        raise refusal(
            f"the table {path.name} is {name}{mark}",
            "UTF-8",
            f"Run `iconv -f {encoding.replace('-LE', 'LE').replace('-BE', 'BE')} -t UTF-8`, or "
            f"save {path.name} as UTF-8",
        )


_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def is_pointer(head: bytes) -> bool:
    """Return True if a file begins like a pointer of Git LFS to another file."""
    return head.startswith((b"version https://git-lfs.", b"version https://hawser."))


def _wide_encoding(head: bytes) -> str | None:
    """Return the encoding of a text whose characters have two or four bytes, or None."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "UTF-32-LE" if head.startswith(codecs.BOM_UTF32_LE) else "UTF-32-BE"
    if head.startswith(codecs.BOM_UTF16_LE):
        return "UTF-16-LE"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "UTF-16-BE"
    # A table begins with ASCII: a header, or a brace. Every other byte of it is zero in UTF-16.
    first = head[:4].ljust(4, b"x")
    shape = bytes(byte != 0 for byte in first)
    return {
        b"\1\0\0\0": "UTF-32-LE",
        b"\0\0\0\1": "UTF-32-BE",
        b"\1\0\1\0": "UTF-16-LE",
        b"\0\1\0\1": "UTF-16-BE",
    }.get(shape)


def _csv_rows(path: Path, columns: Sequence[str]) -> Rows:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        bounded, records = _csv_records(path, lines)
        line = 1
        try:
            header = next(filter(None, records))
            width = len(header)
            chosen = _chooser(header, columns)
            for record in records:
                bounded.characters = 0
                if len(record) == width:
                    yield chosen(record)
                elif record:
                    problem = f"has {len(record)} fields in line {line}"
                    raise malformed(path, problem, f"{width}, as in its header")
                line = records.line_num + 1
        except csv.Error as error:
            raise _malformed_csv(path, line, error) from error


def _chooser(
    header: list[str], columns: Sequence[str]
) -> Callable[[Sequence[str]], Sequence[str | None]]:
    """Return the function from a record to the values of some columns; None for a missing one."""
    if len(columns) > 1 and all(name in header for name in columns):
        return itemgetter(*map(header.index, columns))
    indexes = [header.index(name) if name in header else None for name in columns]
    return lambda record: [None if index is None else record[index] for index in indexes]


def _csv_header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        try:
            return next(filter(None, _csv_records(path, lines)[1]), [])
        except csv.Error as error:
            raise _malformed_csv(path, 1, error) from error


def _csv_records(path: Path, lines: TextIO) -> tuple["_BoundedLines", Any]:
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    bounded = _BoundedLines(path, lines, "")
    return bounded, csv.reader(bounded.lines(), strict=True)


def _malformed_csv(path: Path, line: int, error: csv.Error) -> BlocksError:
    return malformed(path, f"is malformed in line {line}: {error}", "CSV")


class _BoundedLines:
    """The lines of a table, of which no record may have more than a number of characters.

    The reader of records sets ``characters`` to 0 after each record. Blocks are read at once, so
    that a line costs no Python code; a record may exceed the bound by the size of a block.
    """

    def __init__(self, path: Path, lines: TextIO, newline: str) -> None:
        self._path, self._lines, self._newline = path, lines, newline
        self.characters = 0

    def lines(self) -> Iterator[str]:
        """Return the lines with their ends."""
        return chain.from_iterable(self._blocks())

    def _blocks(self) -> Iterator[TextIO]:
        # Pieces of a line that is longer than a block, which are joined once.
        pieces: list[str] = []
        while block := self._lines.read(BLOCK_CHARACTERS):
            self.characters += len(block)
            if self.characters > MAX_RECORD_CHARACTERS:
                problem = f"has a row of more than {MAX_RECORD_CHARACTERS:,} characters"
                raise malformed(self._path, problem, "shorter rows")
            end = block.rfind("\n") + 1
            if not end and not self._newline:
                # Lines may end in \r alone; one at the end of the block may be part of \r\n.
                end = block.rfind("\r", 0, -1) + 1
            if not end:
                pieces.append(block)
                continue
            yield io.StringIO("".join([*pieces, block[:end]]), newline=self._newline)
            pieces = [block[end:]]
        if any(pieces):
            yield io.StringIO("".join(pieces), newline=self._newline)


def _bounded(path: Path, lines: TextIO) -> Iterator[str]:
    bounded = _BoundedLines(path, lines, "\n")
    for line in bounded.lines():
        bounded.characters = 0
        yield line


def _json_rows(path: Path, columns: Sequence[str]) -> Rows:
    for record in _json_records(path):
        yield [record.get(name) for name in columns]


def _json_records(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as lines:
        for number, line in enumerate(_bounded(path, lines), start=1):
            if line.isspace():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                problem = f"is malformed in line {number}: {error}"
                raise malformed(path, problem, "one JSON object in each line") from error
            if not isinstance(record, dict):
                problem = f"has no object in line {number}"
                raise malformed(path, problem, "one JSON object in each line")
            yield record


def _parquet_rows(path: Path, columns: Sequence[str]) -> Rows:
    with _parquet(path) as file:
        present = [name for name in columns if name in file.schema_arrow.names]
        rows = batch_rows(file, path, present, PARQUET_BATCH_ROWS)
        for batch in file.iter_batches(rows, columns=present):
            values = dict(zip(batch.schema.names, map(_values, batch.columns), strict=True))
            nothing = [None] * batch.num_rows
            yield from zip(*(values.get(name, nothing) for name in columns), strict=True)


@contextmanager
def _parquet(path: Path) -> Iterator[pq.ParquetFile]:
    # Buffered reads, so that a row group of gigabytes is not read into memory at once.
    try:
        with pq.ParquetFile(path, buffer_size=PARQUET_BUFFER_BYTES, pre_buffer=False) as file:
            yield file
    except TableBoundError as error:
        raise malformed(path, str(error), "a table that fits the bounds on memory") from error
    except (pa.ArrowException, OSError) as error:
        raise malformed(path, f"cannot be read: {error}", "a complete Parquet file") from error


def _values(column: pa.Array) -> list[Any]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        # Arrow's own conversion raises for the whole batch if one string is not UTF-8.
        encoded = column.cast(pa.large_binary()).to_pylist()
        return [v if v is None else v.decode("utf-8", "surrogateescape") for v in encoded]
    return list(column.to_pylist())


_READERS: Mapping[str, Callable[[Path, Sequence[str]], Rows]] = {
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
    ".ndjson": _json_rows,
    ".parquet": _parquet_rows,
}
