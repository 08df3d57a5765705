"""The contents of a source's places, read and checked in order, with bounded memory."""

import os
import stat
import threading
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tfhub_blocks.compute.data.data_sources import DataSource, ItemPlace
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.records.base.shards import SHARD_BYTES

# Each thread may hold a decoded image, so more threads would need memory for every core.
MAX_THREADS = 8
# An item must fit into a shard, and into the memory of a thread.
MAX_ITEM_BYTES = SHARD_BYTES

Read = tuple[ItemPlace, bytes, str | None]


def read_contents(
    source: DataSource,
    limits: Limits,
    is_decoded: bool = True,
    notes: Counter[str] | None = None,
) -> Iterator[Read]:
    """Yield each place with its content and, if it cannot be an item, the reason.

    The order is that of the source. With ``is_decoded`` false, contents are not decoded here, so
    only faults that the header shows are found. A few threads read and decode files, at most a few
    files ahead. ``notes`` counts the notes about yielded items (``Modality.examined``), which need
    decoding.
    """

    def read(place: ItemPlace) -> Read:
        content, fault = b"", place.fault
        if fault is None and isinstance(place.content, Path):
            content, fault = _read_file(place.content)
        elif isinstance(place.content, bytes):
            content = place.content
        if fault is None and notes is not None and is_decoded:
            fault, found = examined(content, source.modality, limits)
            with lock:
                notes.update(found)
        elif fault is None:
            fault = content_fault(content, source.modality, limits, is_decoded)
        return place, content, fault

    lock = threading.Lock()
    if MODALITIES[source.modality].column == "text":
        yield from map(read, source.places)
        return
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Read]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for place in source.places:
            waiting.append(pool.submit(read, place))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def content_fault(
    content: bytes, modality: str, limits: Limits, is_decoded: bool = True
) -> str | None:
    """Return the reason why a content cannot be an item of a modality, or None.

    A text must be valid UTF-8 already.
    """
    if is_decoded:
        return examined(content, modality, limits)[0]
    return _length_fault(content) or MODALITIES[modality].header_fault(content, limits)


def examined(content: bytes, modality: str, limits: Limits) -> tuple[str | None, tuple[str, ...]]:
    """Return the fault of ``content_fault``, and notes about the item (``Modality.examined``)."""
    fault = _length_fault(content)
    return (fault, ()) if fault else MODALITIES[modality].examined(content, limits)


def _length_fault(content: bytes) -> str | None:
    if not content:
        return "the item is empty"
    if len(content) > MAX_ITEM_BYTES:
        return f"the item has {len(content)} bytes, more than {MAX_ITEM_BYTES}"
    return None


def _read_file(path: Path) -> tuple[bytes, str | None]:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return b"", "the path is not a plain file"
        if status.st_size > MAX_ITEM_BYTES:
            return b"", f"the item has {status.st_size} bytes, more than {MAX_ITEM_BYTES}"
        return path.read_bytes(), None
    except FileNotFoundError:
        return b"", "the file does not exist"
    except OSError as error:
        return b"", f"the file cannot be read: {error.strerror}"
