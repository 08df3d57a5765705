"""Bounds on the memory that reading an Arrow file takes, whatever the file claims.

tfhub-blocks writes batches without compression and without dictionaries, which a reader maps into
memory: they need no more memory than the file. A compressed batch of a few kilobytes can expand to
gigabytes, and so can types that repeat a value. The footer and the head of each batch are read
first, and anything else than tfhub-blocks writes is refused.
"""

import struct
from pathlib import Path
from typing import Any

import pyarrow as pa

from tfhub_blocks.records.base.errors import BlocksError

_MAGIC = b"ARROW1"
_END = struct.Struct("<i6s")
# Fields of the tables of the format (github.com/apache/arrow/tree/main/format).
_DICTIONARIES, _BATCHES = 2, 3
_HEADER = 2
_LENGTH, _COMPRESSION = 0, 3
_BLOCK_BYTES = 24
_MAX_BATCHES = 10_000_000
# A row takes at least one bit of the file.
_ROWS_PER_BYTE = 8


class ArrowBoundError(ValueError):
    """An Arrow file that may need more memory than its size; the message is a clause."""


def open_arrow(
    source: Any, path: Path, options: pa.ipc.IpcReadOptions | None = None
) -> pa.ipc.RecordBatchFileReader:
    """Return the reader of an open Arrow file whose batches need no more memory than the file.

    Args:
        source: The open file, such as ``pa.memory_map(str(path))``.
        path: The path of the file.
        options: Options of the reader.

    Raises:
        BlocksError: A batch is compressed, repeats values, or claims more rows than it has bytes.
        pyarrow.ArrowException: The file is damaged.
    """
    try:
        _check_batches(source)
        reader = pa.ipc.open_file(source, options=options)
        for field in reader.schema:
            _check_type(field.name, field.type)
    except UnicodeDecodeError as error:
        raise pa.ArrowInvalid(f"damaged Arrow file ({error})") from error
    except ArrowBoundError as error:
        raise BlocksError(
            path.name,
            str(path),
            f"the file {error}",
            "a file that needs no more memory than its size",
            "Run the step that wrote it again; tfhub-blocks wrote no such file",
        ) from error
    return reader


def _check_batches(source: Any) -> None:
    size = source.size()
    source.seek(max(0, size - _END.size))
    try:
        length, magic = _END.unpack(source.read(_END.size))
        if magic != _MAGIC or not 0 < length < size:
            raise pa.ArrowInvalid("not an Arrow file")
        source.seek(size - _END.size - length)
        footer = _Table.root(source.read(length))
        if footer.vector(_DICTIONARIES)[1]:
            raise ArrowBoundError("has dictionaries")
        start, count = footer.vector(_BATCHES)
        if count > _MAX_BATCHES:
            raise ArrowBoundError(f"claims {count:,} batches")
        for number in range(count):
            _check_batch(source, size, footer, start + number * _BLOCK_BYTES)
    except (struct.error, IndexError) as error:
        raise pa.ArrowInvalid(f"damaged Arrow file ({error})") from error


def _check_batch(source: Any, size: int, footer: "_Table", place: int) -> None:
    offset, head, body = struct.unpack_from("<qi4xq", footer.content, place)
    if offset < 0 or head < 0 or body < 0 or offset + head + body > size:
        raise pa.ArrowInvalid("damaged Arrow file (a batch is outside of the file)")
    source.seek(offset)
    content = source.read(head)
    # A continuation marker precedes the length in files of format version 5.
    skipped = 8 if content[:4] == b"\xff\xff\xff\xff" else 4
    batch = _Table.root(content[skipped:]).table(_HEADER)
    if batch is None or batch.has(_COMPRESSION):
        raise ArrowBoundError("has a compressed batch")
    rows = batch.number(_LENGTH)
    if not 0 <= rows <= body * _ROWS_PER_BYTE:
        raise ArrowBoundError(f"has a batch of {body:,} bytes that claims {rows:,} rows")


def _check_type(name: str, kind: pa.DataType) -> None:
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind):
        _check_type(name, kind.value_type)
        return
    is_plain = (
        pa.types.is_primitive(kind)
        or pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )
    if not is_plain or pa.types.is_null(kind):
        raise ArrowBoundError(f"has the type {kind} in the column {name!r}")


class _Table:
    """A table of a flatbuffer: its fields are found by their numbers in the schema."""

    def __init__(self, content: bytes, place: int) -> None:
        self.content, self._place = content, place
        (back,) = self._read("<i", place)
        self._fields = place - back
        (self._size,) = self._read("<H", self._fields)

    @classmethod
    def root(cls, content: bytes) -> "_Table":
        """Return the table at the root of a buffer."""
        (place,) = struct.unpack_from("<I", content, 0)
        return cls(content, place)

    def has(self, field: int) -> bool:
        """Return True if a field is set."""
        return self._offset(field) != 0

    def number(self, field: int) -> int:
        """Return a field of 64 bits; 0 if the field is not set."""
        offset = self._offset(field)
        return int(self._read("<q", self._place + offset)[0]) if offset else 0

    def table(self, field: int) -> "_Table | None":
        """Return the table in a field, or None."""
        place = self._target(field)
        return None if place is None else _Table(self.content, place)

    def vector(self, field: int) -> tuple[int, int]:
        """Return the place and the number of the entries of a vector."""
        place = self._target(field)
        return (0, 0) if place is None else (place + 4, self._read("<I", place)[0])

    def _target(self, field: int) -> int | None:
        offset = self._offset(field)
        if not offset:
            return None
        place = self._place + offset
        return place + int(self._read("<I", place)[0])

    def _offset(self, field: int) -> int:
        entry = 4 + 2 * field
        if entry >= self._size:
            return 0
        return int(self._read("<H", self._fields + entry)[0])

    def _read(self, form: str, place: int) -> tuple[Any, ...]:
        if place < 0:
            raise IndexError("an offset is negative")
        return struct.unpack_from(form, self.content, place)
