"""Bounds on the memory that reading a Parquet file takes, whatever the file claims.

A file of a few kilobytes can expand to gigabytes: pages are compressed, and a dictionary repeats
a value for many rows. No value is larger than the uncompressed page that contains the value, so the
headers of all pages are read first, and rows are then read in batches that fit the bound.
"""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tfhub_blocks.records.base.errors import BlocksError

# The largest uncompressed page. A page holds at least one value, and an item has up to 128 MiB.
MAX_PAGE_BYTES = 2**28
# The values of one batch of rows, and the pages of all columns that are open at once.
MAX_BATCH_BYTES = 2**28
MAX_OPEN_BYTES = 2**29
# A table that is read whole, such as the places of a snapshot's items.
MAX_TABLE_BYTES = 2**32
MAX_ROWS = 100_000_000
_HEADER_BYTES = 2**12
_LARGEST_HEADER_BYTES = 2**20
_DATA_PAGES = (0, 3)
_MAX_NESTING = 16


class TableBoundError(ValueError):
    """A Parquet file that needs more memory than the bound; the message is a clause."""


def batch_rows(file: pq.ParquetFile, path: Path, columns: Collection[str], most: int) -> int:
    """Return how many rows of some columns fit into a batch, at most ``most``.

    Raises:
        TableBoundError: The file needs more memory than the bound, or a column has lists or
            structures, whose rows have no bound.
    """
    if file.metadata.num_rows > MAX_ROWS:
        raise TableBoundError(f"claims {file.metadata.num_rows:,} rows, more than {MAX_ROWS:,}")
    open_bytes, largest = 0, 1
    with path.open("rb") as raw:
        size = path.stat().st_size
        for index in range(file.metadata.num_columns):
            column = file.schema.column(index)
            if column.path.partition(".")[0] not in columns:
                continue
            if column.max_repetition_level:
                raise TableBoundError(f"has lists in the column {column.path!r}")
            pages = (
                page
                for group in range(file.metadata.num_row_groups)
                for page in _pages(raw, file.metadata.row_group(group).column(index), size)
            )
            page_bytes = max(pages, default=0)
            if page_bytes > MAX_PAGE_BYTES:
                raise TableBoundError(
                    f"has a page of {page_bytes:,} bytes in the column {column.path!r}, more than "
                    f"{MAX_PAGE_BYTES:,}"
                )
            largest = max(largest, page_bytes)
            # A dictionary and a page of values.
            open_bytes += 2 * page_bytes
    if open_bytes > MAX_OPEN_BYTES:
        raise TableBoundError(f"needs {open_bytes:,} bytes for pages, more than {MAX_OPEN_BYTES:,}")
    return max(1, min(most, MAX_BATCH_BYTES // largest))


def read_bounded(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Return a Parquet file as a table of at most ``MAX_TABLE_BYTES``.

    Raises:
        BlocksError: The file needs more memory than the bound.
        pyarrow.ArrowException: The file is damaged.
    """
    try:
        return _read(path, columns)
    except TableBoundError as error:
        raise BlocksError(
            path.name,
            str(path),
            f"the table {error}",
            "a table that fits the bounds on memory",
            "Take the snapshot again; tfhub-blocks wrote no such table",
        ) from error


def _read(path: Path, columns: list[str] | None) -> pa.Table:
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        names = columns if columns is not None else file.schema_arrow.names
        rows = batch_rows(file, path, names, 2**16)
        batches, total = [], 0
        for batch in file.iter_batches(rows, columns=names):
            total += batch.nbytes
            if total > MAX_TABLE_BYTES:
                raise TableBoundError(f"needs more than {MAX_TABLE_BYTES:,} bytes of memory")
            batches.append(batch)
        found = pa.schema([file.schema_arrow.field(name) for name in names])
        return pa.Table.from_batches(batches, found if not batches else None)


def _pages(raw: Any, chunk: Any, size: int) -> Iterator[int]:
    """Yield the uncompressed size of each page of a column chunk, from the pages' headers."""
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < start:
        start = chunk.dictionary_page_offset
    seen, count = 0, chunk.num_values
    end = min(size, start + chunk.total_compressed_size)
    while start < end and seen < count:
        kind, uncompressed, compressed, values, length = _header(raw, start)
        if uncompressed < 0 or compressed < 0:
            raise TableBoundError("has a page of negative size")
        yield uncompressed
        seen += values if kind in _DATA_PAGES else 0
        start += length + compressed


def _header(raw: Any, start: int) -> tuple[int, int, int, int, int]:
    """Return kind, uncompressed and compressed size, values, and length of a page's header."""
    amount = _HEADER_BYTES
    while True:
        raw.seek(start)
        content = raw.read(amount)
        try:
            return _parsed(content)
        except IndexError:
            # The header has statistics that are longer, or the file ends.
            if amount >= _LARGEST_HEADER_BYTES or len(content) < amount:
                raise TableBoundError("has a page without a complete header") from None
            amount *= 16


def _parsed(content: bytes) -> tuple[int, int, int, int, int]:
    reader = _Compact(content)
    fields = reader.structure()
    data = fields.get(5) or fields.get(8) or {}
    values = data.get(1, 0) if isinstance(data, dict) else 0
    numbers = [fields.get(key, 0) for key in (1, 2, 3)]
    if not all(isinstance(number, int) for number in [*numbers, values]):
        raise TableBoundError("has a page with a damaged header")
    return numbers[0], numbers[1], numbers[2], values, reader.position


class _Compact:
    """A reader of Thrift's compact protocol, as far as the headers of pages use the protocol."""

    def __init__(self, content: bytes) -> None:
        self._content, self.position = content, 0

    def structure(self, depth: int = 0) -> dict[int, Any]:
        """Return the fields of a structure by their ids."""
        if depth > _MAX_NESTING:
            raise TableBoundError("has a page with a damaged header")
        fields: dict[int, Any] = {}
        last = 0
        while (head := self._byte()) != 0:
            last = last + (head >> 4) if head >> 4 else self._zigzag()
            fields[last] = self._value(head & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (1, 2):
            return kind == 1
        if kind == 3:
            return self._byte()
        if kind in (4, 5, 6):
            return self._zigzag()
        if kind in (7, 8):
            return self._skip(8 if kind == 7 else self._varint())
        if kind in (9, 10):
            head = self._byte()
            count = self._varint() if head >> 4 == 15 else head >> 4
            element = head & 15
            # A Boolean in a list takes a byte, and every other value takes one or more.
            return [
                self._byte() if element in (1, 2) else self._value(element, depth + 1)
                for _ in range(count)
            ][:0]
        if kind == 12:
            return self.structure(depth + 1)
        raise TableBoundError("has a page with a damaged header")

    def _skip(self, count: int) -> None:
        self.position += count
        if self.position > len(self._content):
            raise IndexError

    def _byte(self) -> int:
        value = self._content[self.position]
        self.position += 1
        return value

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise TableBoundError("has a page with a damaged header")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
