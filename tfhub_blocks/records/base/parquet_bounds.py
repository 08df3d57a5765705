"""Bounds on the memory that reading a Parquet file takes, whatever the file claims.

A file of a few kilobytes can expand to gigabytes: pages are compressed, and a dictionary repeats
a value for many rows. No value is larger than the uncompressed page that contains the value, so the
headers of all pages are read first, and rows are then read in batches that fit the bound.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
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
# The bytes of a value in memory, by physical type; the texts of a column are counted by its pages.
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}
# Levels and offsets of a value in a list, and its number in a dictionary.
_BESIDE_VALUE = 8


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
                for page, _ in _pages(raw, file.metadata.row_group(group).column(index), size)
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


def read_groups(
    path: Path, columns: Sequence[str] | None = None, most: int = MAX_OPEN_BYTES
) -> Iterator[pa.Table]:
    """Yield the row groups of a Parquet file, of which each fits into ``most`` bytes.

    Columns may be lists, whose values the headers of the pages count.

    Raises:
        BlocksError: A row group needs more memory than the bound.
        pyarrow.ArrowException: The file is damaged.
    """
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        groups = file.num_row_groups
    for group in range(groups):
        yield read_group(path, group, columns, most)


def read_group(
    path: Path, group: int, columns: Sequence[str] | None = None, most: int = MAX_OPEN_BYTES
) -> pa.Table:
    """Return a row group of a Parquet file, which fits into ``most`` bytes.

    Raises:
        BlocksError: The row group needs more memory than the bound.
        pyarrow.ArrowException: The file is damaged.
    """
    try:
        return _read_group(path, group, columns, most)
    except TableBoundError as error:
        raise BlocksError(
            path.name,
            str(path),
            f"the table {error}",
            "a table that fits the bounds on memory",
            "Run the step that wrote it again; tfhub-blocks wrote no such table",
        ) from error


def _read_group(path: Path, group: int, columns: Sequence[str] | None, most: int) -> pa.Table:
    with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
        names = list(columns) if columns is not None else file.schema_arrow.names
        repeated = _check_group(file, path, group, names, most)
    # A text that a dictionary repeats is one text in memory until its size is known.
    with pq.ParquetFile(
        path, pre_buffer=False, buffer_size=2**20, read_dictionary=repeated
    ) as file:
        table = file.read_row_group(group, names)
        plain = _plain(file.schema_arrow)
    needed = sum(_expanded_bytes(chunk) for it in table.columns for chunk in it.chunks)
    if needed > most:
        raise TableBoundError(f"needs {needed:,} bytes for its texts, more than {most:,}")
    return table.cast(pa.schema([plain.field(name) for name in table.schema.names]))


def _check_group(
    file: pq.ParquetFile, path: Path, group: int, names: Collection[str], most: int
) -> list[str]:
    """Check the size of a row group, and return its columns of texts with a dictionary.

    Raises:
        TableBoundError: The row group needs more memory than the bound.
    """
    needed, repeated = 0, []
    rows = file.metadata.row_group(group)
    with path.open("rb") as raw:
        size = path.stat().st_size
        for index in range(file.metadata.num_columns):
            column, chunk = file.schema.column(index), rows.column(index)
            if column.path.partition(".")[0] not in names:
                continue
            if column.physical_type == "BYTE_ARRAY" and chunk.has_dictionary_page:
                repeated.append(column.path)
            width = _WIDTHS.get(column.physical_type, max(0, column.length)) + _BESIDE_VALUE
            for page_bytes, values in _pages(raw, chunk, size):
                needed += page_bytes + values * width
                if needed > most:
                    raise TableBoundError(
                        f"needs more than {most:,} bytes for its row group {group}"
                    )
    if rows.num_rows * _BESIDE_VALUE > most:
        raise TableBoundError(f"claims {rows.num_rows:,} rows in its row group {group}")
    return repeated


def _plain(schema: pa.Schema) -> pa.Schema:
    return pa.schema([pa.field(it.name, _plain_type(it.type), it.nullable) for it in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    return kind


def _expanded_bytes(values: pa.Array) -> int:
    """Return the bytes of an array's texts without a dictionary."""
    if pa.types.is_list(values.type):
        return _expanded_bytes(values.flatten())
    if not pa.types.is_dictionary(values.type):
        return 0
    sizes = pc.binary_length(values.dictionary).cast(pa.int64())
    return int(pc.sum(sizes.take(values.indices)).as_py() or 0)


def _pages(raw: Any, chunk: Any, size: int) -> Iterator[tuple[int, int]]:
    """Yield the uncompressed size and the values of each page of a column chunk, from headers."""
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and 0 < (chunk.dictionary_page_offset or 0) < start:
        start = chunk.dictionary_page_offset
    seen, count = 0, chunk.num_values
    end = min(size, start + chunk.total_compressed_size)
    while start < end and seen < count:
        kind, uncompressed, compressed, values, length = _header(raw, start)
        if uncompressed < 0 or compressed < 0:
            raise TableBoundError("has a page of negative size")
        if values < 0:
            raise TableBoundError("has a page with a negative number of values")
        yield uncompressed, values if kind in _DATA_PAGES else 0
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
