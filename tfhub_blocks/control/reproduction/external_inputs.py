"""What no step made, and a chain begins with: whether it is still what it was."""

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq

from tfhub_blocks.control.lineage.recorded_output import Output
from tfhub_blocks.records.base.digests import file_sha256, files_sha256, folder_files
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.snapshots import REJECTED_NAME, SOURCES_NAME
from tfhub_blocks.records.pins.pins import PIN_NAME, SAVED_MODEL_FOLDER, SAVED_MODEL_NAME, read_pin

_TABLES = frozenset({".csv", ".jsonl", ".parquet"})


def why_not_again(output: Output | None, place: str) -> str:
    """What keeps a source from being read again as it was; nothing if it is, or nothing tells.

    Of a snapshot each place is held against the id of its item, and of an encoder each file against
    the pin. Rows of a table, and what other steps read, are not told before they run.

    Args:
        output: What was made of it, if that is here.
        place: Where it was, or nothing if no run tells.
    """
    if not place:
        return "nothing tells where it was"
    path = Path(place)
    if not path.exists():
        return f"{path} is gone"
    try:
        if output and output.kind == "snapshot":
            return _snapshot_change(output.path, path)
        if output and output.kind == "encoder":
            return _encoder_change(output.path, path)
    except (OSError, BlocksError) as error:
        return str(error)
    return ""


def _snapshot_change(snapshot: Path, source: Path) -> str:
    rows = pq.read_table(snapshot / SOURCES_NAME).to_pylist()
    known = {row["path"]: row["id"] for row in rows}
    if any(not (source / path).is_file() and ":" in path for path in known):
        return ""  # rows of a table
    gone = [path for path in known if not (source / path).is_file()]
    if gone:
        return f"{_told(gone)} gone from {source}"
    edited = [path for path, item in known.items() if file_sha256(source / path) != item]
    if edited:
        return f"{_told(edited)} changed in {source}"
    rejected = pq.read_table(snapshot / REJECTED_NAME)["path"].to_pylist()
    added = set(_items(source)) - known.keys() - set(rejected)
    return f"{_told(sorted(added))} new in {source}" if added else ""


def _items(source: Path) -> Iterable[str]:
    """The files that are items if there are folders of classes."""
    if any(path.suffix in _TABLES for path in source.iterdir()):
        return []
    names = (PurePosixPath(name) for name, _ in folder_files(source))
    return [str(it) for it in names if len(it.parts) > 1 and not _is_hidden(it)]


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _told(paths: list[str]) -> str:
    more = f" and {len(paths) - 1} more are" if len(paths) > 1 else " is"
    return f"{paths[0]!r}{more}"


def _encoder_change(encoder: Path, source: Path) -> str:
    pin = read_pin(encoder / PIN_NAME)
    folder = source / SAVED_MODEL_FOLDER if (source / SAVED_MODEL_FOLDER).is_dir() else source
    if not folder.is_dir() or not (folder / SAVED_MODEL_NAME).is_file():
        return ""  # an archive, or a pin alone
    found = files_sha256(folder)
    found.pop(PIN_NAME, None)
    wanted = {name: file.sha256 for name, file in pin.files.items()}
    changed = sorted(n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n))
    return f"{_told(changed)} not as pinned in {folder}" if changed else ""
