"""Tables of items: CSV, JSON Lines and Parquet files with texts or paths, read row by row.

Rows are counted from one, without the header. Strings that are not valid UTF-8 are returned with
surrogates (PEP 383), so that one bad row does not make the whole table unreadable.
"""

import codecs
import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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

Rows = Iterator[Sequence[Any]]


@dataclass(frozen=True)
class ItemTable:
    """A table file: its columns, and its number of rows if that is cheap to find out."""

    path: Path
    columns: tuple[str, ...]
    rows: int | None

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
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise malformed(path, "is UTF-16", "UTF-8")
    if suffix == ".parquet":
        with _parquet(path) as parquet:
            columns, rows = list(parquet.schema_arrow.names), parquet.metadata.num_rows
    elif suffix == ".csv":
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            columns = next(_csv_records(path, lines), (0, []))[1]
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


def _csv_rows(path: Path, columns: Sequence[str]) -> Rows:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
        records = _csv_records(path, lines)
        _, header = next(records)
        indexes = [header.index(name) if name in header else None for name in columns]
        for line, record in records:
            if len(record) != len(header):
                problem = f"has {len(record)} fields in line {line}"
                raise malformed(path, problem, f"{len(header)}, as in its header")
            yield [None if index is None else record[index] for index in indexes]


def _csv_records(path: Path, lines: Any) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    bounded = _BoundedLines(path, lines)
    records = csv.reader(bounded, strict=True)
    while True:
        bounded.characters = 0
        line = records.line_num + 1
        try:
            record = next(records, None)
        except csv.Error as error:
            raise malformed(path, f"is malformed in line {line}: {error}", "CSV") from error
        if record is None:
            return
        if record:
            yield line, record


class _BoundedLines:
    """The lines of a table, of which no record may have more than a number of characters."""

    def __init__(self, path: Path, lines: Any) -> None:
        self._path, self._lines = path, lines
        self.characters = 0

    def __iter__(self) -> "_BoundedLines":
        return self

    def __next__(self) -> str:
        line: str = self._lines.readline(MAX_RECORD_CHARACTERS + 1)
        self.characters += len(line)
        if self.characters > MAX_RECORD_CHARACTERS:
            problem = f"has a row of more than {MAX_RECORD_CHARACTERS:,} characters"
            raise malformed(self._path, problem, "shorter rows")
        if not line:
            raise StopIteration
        return line


def _bounded(path: Path, lines: Any) -> Iterator[str]:
    bounded = _BoundedLines(path, lines)
    for line in bounded:
        yield line
        bounded.characters = 0


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
