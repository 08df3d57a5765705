"""Sources of a chain that no step wrote, and the check that they are unchanged."""

# decision 36

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from tfhub_blocks.control.lineage.recorded_output import Output
from tfhub_blocks.records.base.digests import file_sha256, source_files, sources_sha256
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.parquet_bounds import read_bounded
from tfhub_blocks.records.formats.snapshots import REJECTED_NAME, SOURCES_NAME
from tfhub_blocks.records.pins.pins import PIN_NAME, SAVED_MODEL_FOLDER, SAVED_MODEL_NAME, read_pin

_TABLES = frozenset({".csv", ".jsonl", ".parquet"})


def why_not_again(output: Output | None, place: str) -> str:
    """Return the reason why a source cannot be read again unchanged, or an empty text.

    Each file of a snapshot is compared with the id of its item, and each file of an encoder with
    the pin. Rows of a table, and inputs of other steps, cannot be checked before the steps run.

    Args:
        output: The output that was built from the source, if it exists locally.
        place: The recorded path of the source, or an empty text if no run recorded it.
    """
    if not place:
        return "no run recorded its path"
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
    rows = read_bounded(snapshot / SOURCES_NAME).to_pylist()
    known = {row["path"]: row["id"] for row in rows}
    if any(not (source / path).is_file() and ":" in path for path in known):
        return ""  # rows of a table
    gone = [path for path in known if not (source / path).is_file()]
    if gone:
        return f"{_names(gone)} gone from {source}"
    edited = [path for path, item in known.items() if file_sha256(source / path) != item]
    if edited:
        return f"{_names(edited)} changed in {source}"
    rejected = read_bounded(snapshot / REJECTED_NAME)["path"].to_pylist()
    added = set(_items(source)) - known.keys() - set(rejected)
    return f"{_names(sorted(added))} new in {source}" if added else ""


def _items(source: Path) -> Iterable[str]:
    """Return the files that are items, for folders of classes."""
    if any(path.suffix in _TABLES for path in source.iterdir()):
        return []
    names = map(PurePosixPath, source_files(source))
    return [str(it) for it in names if len(it.parts) > 1 and not _is_hidden(it)]


def _is_hidden(path: PurePosixPath) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _names(paths: list[str]) -> str:
    more = f" and {len(paths) - 1} more are" if len(paths) > 1 else " is"
    return f"{paths[0]!r}{more}"


def _encoder_change(encoder: Path, source: Path) -> str:
    pin = read_pin(encoder / PIN_NAME)
    folder = source / SAVED_MODEL_FOLDER if (source / SAVED_MODEL_FOLDER).is_dir() else source
    if not folder.is_dir() or not (folder / SAVED_MODEL_NAME).is_file():
        return ""  # an archive, or only a pin
    found = sources_sha256(folder)
    found.pop(PIN_NAME, None)
    wanted = {name: file.sha256 for name, file in pin.files.items()}
    changed = sorted(n for n in found.keys() | wanted.keys() if found.get(n) != wanted.get(n))
    return f"{_names(changed)} not as pinned in {folder}" if changed else ""
