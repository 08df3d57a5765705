"""The contents of a source's places, read and checked in order, with bounded memory."""

import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tfhub_blocks.compute.data.data_sources import DataSource, ItemPlace
from tfhub_blocks.compute.data.fields import BACKSLASHES
from tfhub_blocks.compute.data.fingerprints import FINGERPRINT_PX, Fingerprint, fingerprint_of
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.compute.modalities.texts import Texts
from tfhub_blocks.records.base.shards import SHARD_BYTES

# Each thread may hold a decoded image, so more threads would need memory for every core.
MAX_THREADS = 8
_NO_LIMITS = Limits(1, 1.0)
# An item must fit into a shard, and into the memory of a thread.
MAX_ITEM_BYTES = SHARD_BYTES

Read = tuple[ItemPlace, bytes, str | None]
Examined = tuple[ItemPlace, bytes, str | None, tuple[str, ...], Fingerprint | None]
"""A place, its content, the reason why it cannot be an item, notes, and its fingerprint."""

# The beginnings of files that stand for another file, or came in its place.
_POINTER = "the file is a Git LFS pointer: run `git lfs pull`, and take the snapshot again"
_PLACEHOLDERS = (
    (re.compile(rb"version https://(git-lfs|hawser)\."), _POINTER),
    (
        re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE),
        "the file is a page of HTML, as a failed download leaves it: download the file again",
    ),
    (
        re.compile(rb"(\.\./)*(\.git/annex/objects|/annex/objects)/"),
        "the file is a pointer of git-annex: run `git annex get`, and take the snapshot again",
    ),
    (re.compile(rb"PK\x03\x04"), "the file is a ZIP archive: unpack it"),
)


def read_contents(source: DataSource, limits: Limits, is_decoded: bool = True) -> Iterator[Read]:
    """Yield each place with its content and, if it cannot be an item, the reason.

    The order is that of the source. With ``is_decoded`` false, contents are not decoded here, so
    only faults that the header shows are found. A few threads read and decode files, at most a few
    files ahead.
    """

    def read(place: ItemPlace) -> Read:
        content, fault = _content_of(place)
        if fault is None:
            fault = content_fault(content, source.modality, limits, is_decoded)
        return place, content, fault

    return _in_threads(read, source)


def examine_contents(
    source: DataSource, limits: Limits, with_fingerprints: bool
) -> Iterator[Examined]:
    """Yield each place with its content and all that one decoding of it shows.

    The order is that of the source. Texts have no fingerprints.
    """
    modality = source.modality
    kind = MODALITIES[modality]
    detail_px = FINGERPRINT_PX if with_fingerprints else 1
    nothing: tuple[str, ...] = ()

    def examine(place: ItemPlace) -> Examined:
        content, fault = _content_of(place)
        if fault := fault or _length_fault(content) or placeholder_fault(content, modality):
            return place, content, fault, nothing, None
        fault, notes, decoded = kind.examine(content, limits, detail_px)
        mark = None
        if with_fingerprints and fault is None and decoded is not None:
            mark = fingerprint_of(decoded, modality)
        return place, content, fault, notes, mark

    return _in_threads(examine_text if kind.column == "text" else examine, source)


def examine_text(place: ItemPlace) -> Examined:
    """Return a text with all that one look at it shows."""
    content, fault = _content_of(place)
    notes: tuple[str, ...] = ()
    if fault is None and (fault := _length_fault(content)) is None:
        fault, notes, _ = Texts.examine(content, _NO_LIMITS)
    return place, content, fault, notes, None


def _in_threads(read: Callable[[ItemPlace], Any], source: DataSource) -> Iterator[Any]:
    """Yield the result for each place in order; texts, which need no decoding, without threads."""
    if MODALITIES[source.modality].column == "text":
        yield from map(read, source.places)
        return
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for place in source.places:
                waiting.append(pool.submit(read, place))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for each in waiting:
                each.cancel()


def placeholder_fault(content: bytes, modality: str) -> str | None:
    """Return the reason why a file stands for another one, or None."""
    if modality == "text" or content[:1] not in b"v<./P \n\r\t":
        return None
    found = (fault for start, fault in _PLACEHOLDERS if start.match(content))
    return next(found, None) if modality != "bytes" or content[:1] == b"v" else None


def _content_of(place: ItemPlace) -> tuple[bytes, str | None]:
    if place.fault is not None:
        return b"", place.fault
    if isinstance(place.content, bytes):
        return place.content, None
    return read_file(place.content)


def content_fault(
    content: bytes, modality: str, limits: Limits, is_decoded: bool = True
) -> str | None:
    """Return the reason why a content cannot be an item of a modality, or None.

    A text must be valid UTF-8 already.
    """
    fault = _length_fault(content) or placeholder_fault(content, modality)
    kind = MODALITIES[modality]
    if fault or not is_decoded:
        return fault or kind.header_fault(content, limits)
    return kind.content_fault(content, limits)


def _length_fault(content: bytes) -> str | None:
    if not content:
        return "the item is empty"
    if len(content) > MAX_ITEM_BYTES:
        return f"the item has {len(content)} bytes, more than {MAX_ITEM_BYTES}"
    return None


def read_file(path: Path) -> tuple[bytes, str | None]:
    """Return the content of a plain file, or the reason why it cannot be read."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return b"", "the path is not a plain file"
        if status.st_size > MAX_ITEM_BYTES:
            return b"", f"the item has {status.st_size} bytes, more than {MAX_ITEM_BYTES}"
        return path.read_bytes(), None
    except FileNotFoundError:
        return b"", BACKSLASHES if "\\" in path.name else "the file does not exist"
    except OSError as error:
        return b"", f"the file cannot be read: {error.strerror}"
