"""Sources of a snapshot: a folder of classes, or a table of rows or of paths.

A source gives the places where items are, in an order of its own; a place that cannot be used
says why. Only the layout as a whole can be refused here.
"""

import os
import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.compute.data.fields import (
    SPLIT_NAMES,
    as_label,
    as_path,
    as_split,
    as_text,
    printable,
    refusal,
)
from tfhub_blocks.compute.data.item_tables import ItemTable, is_table, open_table
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.records.base.errors import nearest
from tfhub_blocks.records.formats.snapshots import SPLITS

# At the top of a source: what must be said wherever its items are shown.
ATTRIBUTION_NAME = "ATTRIBUTION.txt"
_IGNORED_NAMES = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX", "__pycache__"})


@dataclass(frozen=True, slots=True)
class ItemPlace:
    """One place where an item is: a file, or a row of text; or why it cannot be used.

    ``path`` is relative to the source, ``rows.csv:17`` for the 17th row of text.
    """

    path: str
    label: str | None
    split: str | None
    content: bytes | Path
    fault: str | None = None


@dataclass(frozen=True)
class DataSource:
    """A source whose layout has been understood; ``places`` can be read once.

    ``labels`` are those that a folder names, even if it holds no file.
    """

    modality: str
    places: Iterator[ItemPlace]
    total: int | None = None
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def open_source(
    path: Path, modality: str, respect_splits: bool = False, is_labelled: bool = True
) -> DataSource:
    """The source at a path: a table, a folder with one table at its top, or folders of classes.

    Without labels, each file below a folder is a place, and a table needs no column for them.

    Raises:
        BlocksError: There is nothing that can be understood as one of these.
    """
    if is_table(path) and path.is_file():
        return _table_source(open_table(path), modality, respect_splits, is_labelled)
    if not path.is_dir():
        problem = "is a file, but no table" if path.exists() else "does not exist"
        raise refusal(
            f"{str(path)!r} {problem}",
            "a folder, or a table (.csv, .jsonl, .parquet)",
            "give one of these",
        )
    top = [entry for entry in sorted(path.iterdir()) if not _is_ignored(entry.name)]
    tables = [entry for entry in top if is_table(entry) and entry.is_file()]
    if len(tables) == 1:
        return _table_source(open_table(tables[0]), modality, respect_splits, is_labelled)
    if tables:
        names = ", ".join(table.name for table in tables)
        raise refusal(
            f"the folder holds {len(tables)} tables: {names}",
            "one table, or folders of classes and no table",
            "leave one table, or move them out",
        )
    if top and not is_labelled:
        return _unlabelled_folder(path, modality)
    if not any(entry.is_dir() for entry in top):
        raise refusal(
            f"the folder holds {_seen(entry.name for entry in top)}, no table and no folders"
            if top
            else "the folder is empty",
            "a folder for each class, or one table (.csv, .jsonl, .parquet)",
            "put each class's files into a folder of its own",
        )
    return _folder_source(path, modality, respect_splits)


def _folder_source(folder: Path, modality: str, respect_splits: bool) -> DataSource:
    files, folders = _walk(folder)
    tops = [name for name in folders if "/" not in name]
    if respect_splits:
        _require_splits(tops)
    elif all(name.lower() in SPLIT_NAMES for name in tops):
        raise refusal(
            f"the folders are named like splits, not like classes: {', '.join(tops)}",
            "a folder for each class, or respect_splits with folders split/class",
            "set respect_splits to true",
        )
    depth = 1 if respect_splits else 0
    # Files above the classes' folders are a licence, an attribution or the like.
    files = [name for name in files if name.count("/") > depth]
    if not files:
        raise refusal(
            "the folder's class folders hold no files", "files in them", "check the folder"
        )
    return DataSource(
        _modality_of_files(modality, files, "columns text and label"),
        _folder_places(folder, files, depth),
        len(files),
        tuple(sorted({printable(n.split("/")[depth]) for n in folders if n.count("/") >= depth})),
    )


def _unlabelled_folder(folder: Path, modality: str) -> DataSource:
    files = [name for name in _walk(folder)[0] if name != ATTRIBUTION_NAME]
    if not files:
        raise refusal("the folder holds no files", "files in it", "check the folder")
    modality = _modality_of_files(modality, files, "column text")
    places = (ItemPlace(printable(name), None, None, folder / name) for name in files)
    return DataSource(modality, places, len(files))


def _modality_of_files(modality: str, files: list[str], columns: str) -> str:
    if modality == "auto":
        return _modality_by_extension(Counter(map(_extension, files)))
    if MODALITIES[modality].column == "text":
        raise refusal(
            f"the folder holds files, and modality is {modality}",
            f"a table with the {columns}",
            "put each text into a row of a CSV, JSON Lines or Parquet file",
        )
    return modality


def _folder_places(folder: Path, files: list[str], depth: int) -> Iterator[ItemPlace]:
    for name in files:
        parts = name.split("/", depth + 1)
        label, fault = as_label(parts[depth])
        split = SPLIT_NAMES[parts[0].lower()] if depth else None
        yield ItemPlace(printable(name), label, split, folder / name, fault)


def _walk(folder: Path) -> tuple[list[str], list[str]]:
    """The POSIX paths of files and of folders below a folder, each sorted."""
    files, folders = [], []
    for parent, names, file_names in os.walk(folder, onerror=_refuse_unreadable):
        names[:] = [name for name in names if not _is_ignored(name)]
        prefix = os.path.relpath(parent, folder).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        for name in names:
            if Path(parent, name).is_symlink():
                raise refusal(
                    f"{prefix + name!r} is a link to a folder",
                    "folders that hold their files",
                    "put the folder itself in its place",
                )
            folders.append(prefix + name)
        files += [prefix + name for name in file_names if not _is_ignored(name)]
    return sorted(files), sorted(folders)


def _refuse_unreadable(error: OSError) -> None:
    raise refusal(
        f"the folder {error.filename!r} cannot be read: {error.strerror}",
        "folders that this step may read",
        "check its permissions",
    ) from error


def _require_splits(folders: list[str]) -> None:
    others = [name for name in folders if name.lower() not in SPLIT_NAMES]
    if others:
        raise refusal(
            f"respect_splits is true, and the folder {others[0]!r} is no split",
            f"folders split/class with the splits {', '.join(SPLITS)}",
            "rename it, or set respect_splits to false",
        )


def _table_source(
    table: ItemTable, modality: str, respect_splits: bool, is_labelled: bool
) -> DataSource:
    if modality == "auto" and "text" in table.columns:
        modality = next(name for name, kind in MODALITIES.items() if kind.column == "text")
    content = "path" if modality == "auto" else MODALITIES[modality].column
    further = [*(["label"] if is_labelled else []), *(["split"] if respect_splits else [])]
    _require_columns(table, content, modality, further)
    warnings = []
    if "split" in table.columns and is_labelled and not respect_splits:
        warnings.append("the table's column split is not used: set respect_splits to use it")
    if modality == "auto":
        paths = (str(value or "") for (value,) in table.read(["path"]))
        modality = _modality_by_extension(Counter(map(_extension, paths)))
    places = _table_places(table, content, further)
    return DataSource(modality, places, table.rows, warnings=tuple(warnings))


def _require_columns(table: ItemTable, content: str, modality: str, further: list[str]) -> None:
    missing = [name for name in (content, *further) if name not in table.columns]
    if not missing:
        return
    name = missing[0]
    # Without one of the two, either may have been meant.
    meant = ("text", "path") if name == content and modality == "auto" else (name,)
    near = next(filter(None, (nearest(word, table.columns) for word in meant)), "")
    shown = [printable(column) for column in table.columns]
    remedy = "add or rename a column" + (f": {near}" if near else "")
    if len(shown) == 1 and any(mark in shown[0] for mark in ";\t|"):
        remedy = "separate the columns by commas"
    raise refusal(
        f"the table {table.path.name} has no column {' or '.join(meant)}; its columns are "
        + ", ".join(shown),
        ", and ".join(
            ["the columns path or text" if further else "a column path or text", *further]
        ),
        remedy,
    )


def _table_places(table: ItemTable, content: str, further: list[str]) -> Iterator[ItemPlace]:
    name, folder = table.path.name, table.path.parent
    for row, (value, *rest) in enumerate(table.read([content, *further]), start=1):
        told = dict(zip(further, rest, strict=True))
        split = as_split(f"row {row} of {name}", told["split"]) if "split" in told else None
        label, label_fault = as_label(told["label"]) if "label" in told else (None, None)
        path = f"{name}:{row}"
        found: bytes | Path
        if content == "text":
            found, fault = as_text(value)
        else:
            path, fault = as_path(path, value)
            found = folder / path
        yield ItemPlace(path, label, split, found, label_fault or fault)


def _modality_by_extension(seen: Counter[str]) -> str:
    total = seen.total()
    if not total:
        raise refusal("the table has no rows", "a row for each item", "check the table")
    of_files = {name: kind.extensions for name, kind in MODALITIES.items() if kind.extensions}
    for modality, extensions in of_files.items():
        if sum(seen[extension] for extension in extensions) * 2 > total:
            return modality
    named = (
        f"{name} ({', '.join(sorted(extension[1:] for extension in extensions))})"
        for name, extensions in of_files.items()
    )
    raise refusal(
        f"modality is auto, and most files are of none: {_listed(seen)}",
        f"a table with the column text, or files of {' or '.join(named)}",
        f"set modality to {', '.join(of_files)} or bytes",
    )


def _seen(names: Iterator[str]) -> str:
    return _listed(Counter(map(_extension, names)))


def _listed(seen: Counter[str]) -> str:
    # By number, then by name, so that the message does not depend on the files' order.
    first = sorted(seen.items(), key=lambda item: (-item[1], item[0]))[:5]
    more = f" and {len(seen) - 5} other extensions" if len(seen) > 5 else ""
    return ", ".join(f"{number} {name or 'without extension'}" for name, number in first) + more


def _extension(path: str) -> str:
    return printable(posixpath.splitext(path)[1].lower())


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED_NAMES
