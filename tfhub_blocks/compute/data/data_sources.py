"""Sources of a snapshot: a folder of classes, or a table of rows or of paths.

A source yields the places of its items, in its own order. A place that cannot be used states the
reason. This module raises only if the layout as a whole cannot be used.
"""

import os
import posixpath
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from tfhub_blocks.compute.data.fields import (
    SPLIT_NAMES,
    as_label,
    as_path,
    as_split,
    as_text,
    known_path,
    no_rows,
    printable,
    refusal,
)
from tfhub_blocks.compute.data.grouping import FOLDER, PATTERN, column_of, group_of
from tfhub_blocks.compute.data.item_tables import ItemTable, is_table, open_table
from tfhub_blocks.compute.data.source_links import SourceLinks
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.records.base.errors import nearest
from tfhub_blocks.records.formats.snapshots import SPLITS

# At the top of a source: the text that must accompany its items wherever they are shown.
ATTRIBUTION_NAME = "ATTRIBUTION.txt"
_IGNORED_NAMES = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX", "__pycache__"})


@dataclass(frozen=True, slots=True)
class ItemPlace:
    """The place of one item: a file, or a row of text; ``fault`` states why it cannot be used.

    ``path`` is relative to the source, or ``rows.csv:17`` for the 17th row of text.
    """

    path: str
    label: str | None
    split: str | None
    content: bytes | Path
    fault: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class DataSource:
    """A source with a known layout; ``places`` can be read once.

    ``labels`` are the names of the class folders, including empty folders.
    """

    modality: str
    places: Iterator[ItemPlace]
    total: int | None = None
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    links: SourceLinks = field(default_factory=lambda: SourceLinks(Path(), False))


def open_source(
    path: Path,
    modality: str,
    respect_splits: bool = False,
    is_labelled: bool = True,
    follow_links: bool = False,
    group_by: str = "",
    label_column: str = "label",
) -> DataSource:
    """Open the source at a path, and check its links; see ``_open``.

    Args:
        path: The folder or the table.
        modality: The modality of the items, or auto.
        respect_splits: True to read the splits of the source.
        is_labelled: False for items without labels.
        follow_links: True to follow links that lead out of the source.
        group_by: The rule of what belongs together; see ``grouping``.
        label_column: The column of a table that contains the labels.

    Raises:
        BlocksError: The path contains no known layout. While places are read: a link leads out of
            the source, and ``follow_links`` is False.
    """
    links = SourceLinks(path if path.is_dir() else path.parent, follow_links)
    columns = (label_column, column_of(group_by))
    found = _open(path, modality, respect_splits, is_labelled, links, *columns)
    checked = replace(found, places=links.checked(found.places), links=links)
    return _grouped(checked, group_by)


def _open(
    path: Path,
    modality: str,
    respect_splits: bool,
    is_labelled: bool,
    links: SourceLinks,
    label_column: str,
    group_column: str | None,
) -> DataSource:
    """Open the source at a path: a table, a folder with one table at its top, or class folders.

    Without labels, each file below a folder is a place, and a table needs no column ``label``.

    Raises:
        BlocksError: The path contains none of these layouts.
    """
    of_table = (modality, respect_splits, is_labelled, label_column, group_column)
    if is_table(path) and path.is_file():
        return _table_source(open_table(path), *of_table)
    if not path.is_dir():
        problem = "is a file, but not a table" if path.exists() else "does not exist"
        raise refusal(
            f"{str(path)!r} {problem}",
            "a folder, or a table (.csv, .jsonl, .parquet)",
            "Pass the path of a folder or of a table",
        )
    top = [entry for entry in sorted(path.iterdir()) if not _is_ignored(entry.name)]
    tables = [entry for entry in top if is_table(entry) and entry.is_file()]
    if len(tables) == 1:
        return _table_source(open_table(tables[0]), *of_table)
    if tables:
        names = ", ".join(table.name for table in tables)
        raise refusal(
            f"the folder contains {len(tables)} tables: {names}",
            "one table, or class folders and no table",
            "Pass the path of one table, or move the other tables out of the folder",
        )
    if top and not is_labelled:
        return _unlabelled_folder(path, modality, links)
    if not any(entry.is_dir() for entry in top):
        raise refusal(
            f"the folder contains {_seen(entry.name for entry in top)}, but no table and no folders"
            if top
            else "the folder is empty",
            "a folder for each class, or one table (.csv, .jsonl, .parquet)",
            "Put the files of each class into a separate folder",
        )
    if group_column:
        raise refusal(
            f"group_by names the column {group_column!r}, but the source is a folder of classes",
            "a table with this column",
            f"Set group_by to {FOLDER}, to {PATTERN}REGEX, or leave it empty",
        )
    return _folder_source(path, modality, respect_splits, links)


def _folder_source(
    folder: Path, modality: str, respect_splits: bool, links: SourceLinks
) -> DataSource:
    files, folders = _walk(folder, links)
    tops = [name for name in folders if "/" not in name]
    if respect_splits:
        _require_splits(tops)
    elif all(name.lower() in SPLIT_NAMES for name in tops):
        raise refusal(
            f"the folders have names of splits, not of classes: {', '.join(tops)}",
            "a folder for each class, or respect_splits with folders split/class",
            "Set respect_splits to true",
        )
    depth = 1 if respect_splits else 0
    # Files above the class folders are a licence, an attribution or similar.
    files = [name for name in files if name.count("/") > depth]
    if not files:
        raise refusal(
            "the class folders contain no files",
            "files in the class folders",
            f"Put files into the class folders of {folder}, or pass another folder",
        )
    return DataSource(
        _modality_of_files(modality, files, "columns text and label"),
        _folder_places(folder, files, depth),
        len(files),
        tuple(sorted({known_path(n.split("/")[depth]) for n in folders if n.count("/") >= depth})),
    )


def _unlabelled_folder(folder: Path, modality: str, links: SourceLinks) -> DataSource:
    files = [name for name in _walk(folder, links)[0] if name != ATTRIBUTION_NAME]
    if not files:
        raise refusal(
            "the folder contains no files",
            "one or more files",
            f"Put files into {folder}, or pass another folder",
        )
    modality = _modality_of_files(modality, files, "column text")
    places = (ItemPlace(known_path(name), None, None, folder / name) for name in files)
    return DataSource(modality, places, len(files))


def _modality_of_files(modality: str, files: list[str], columns: str) -> str:
    if modality == "auto":
        return _modality_by_extension(Counter(map(_extension, files)))
    if MODALITIES[modality].column == "text":
        raise refusal(
            f"the folder contains files, but modality is {modality}",
            f"a table with the {columns}",
            "Put each text into a row of a CSV, JSON Lines or Parquet file",
        )
    return modality


def _folder_places(folder: Path, files: list[str], depth: int) -> Iterator[ItemPlace]:
    for name in files:
        parts = name.split("/", depth + 1)
        label, fault = as_label(parts[depth])
        split = SPLIT_NAMES[parts[0].lower()] if depth else None
        yield ItemPlace(known_path(name), label, split, folder / name, fault)


def _walk(folder: Path, links: SourceLinks) -> tuple[list[str], list[str]]:
    """Return the POSIX paths of files and of folders below a folder, each list sorted."""
    files, folders = [], []
    walked = os.walk(folder, onerror=_refuse_unreadable, followlinks=links.is_followed)
    for parent, names, file_names in walked:
        names[:] = [name for name in names if not _is_ignored(name)]
        prefix = os.path.relpath(parent, folder).replace(os.sep, "/") + "/"
        prefix = "" if prefix == "./" else prefix
        for name in names:
            if Path(parent, name).is_symlink():
                links.check_folder(prefix + name)
            folders.append(prefix + name)
        files += [prefix + name for name in file_names if not _is_ignored(name)]
    return sorted(files), sorted(folders)


def _refuse_unreadable(error: OSError) -> None:
    raise refusal(
        f"the folder {error.filename!r} cannot be read: {error.strerror}",
        "folders that this step may read",
        "Allow the step's user to read this folder",
    ) from error


def _require_splits(folders: list[str]) -> None:
    others = [name for name in folders if name.lower() not in SPLIT_NAMES]
    if others:
        raise refusal(
            f"respect_splits is true, but the folder {others[0]!r} is not a split",
            f"folders split/class with the splits {', '.join(SPLITS)}",
            "Rename the folder, or set respect_splits to false",
        )


def _grouped(source: DataSource, group_by: str) -> DataSource:
    if not group_by or column_of(group_by):
        return source
    rule = group_of(group_by)
    return replace(
        source, places=(replace(place, group=rule(place.path)) for place in source.places)
    )


def _table_source(
    table: ItemTable,
    modality: str,
    respect_splits: bool,
    is_labelled: bool,
    label_column: str,
    group_column: str | None,
) -> DataSource:
    if modality == "auto" and "text" in table.columns:
        modality = next(name for name, kind in MODALITIES.items() if kind.column == "text")
    content = "path" if modality == "auto" else MODALITIES[modality].column
    further = {"label": label_column} if is_labelled else {}
    further |= {"split": "split"} if respect_splits else {}
    further |= {"group": group_column} if group_column else {}
    _require_columns(table, content, modality, list(further.values()))
    warnings = []
    if "split" in table.columns and is_labelled and not respect_splits:
        warnings.append("the column split of the table is ignored: set respect_splits to use it")
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
    # If both columns are missing and the modality is open, the user may have meant either.
    meant = ("text", "path") if name == content and modality == "auto" else (name,)
    near = next(filter(None, (nearest(word, table.columns) for word in meant)), "")
    shown = [printable(column) for column in table.columns]
    remedy = near or f"Add the column {' or '.join(meant)}, or rename a column"
    if len(shown) == 1 and any(mark in shown[0] for mark in ";\t|"):
        remedy = "Separate the columns by commas"
    raise refusal(
        f"the table {table.path.name} has no column {' or '.join(meant)}; its columns are "
        + ", ".join(shown),
        ", and ".join(
            ["the columns path or text" if further else "a column path or text", *further]
        ),
        remedy,
    )


def _table_places(
    table: ItemTable, content: str, further: Mapping[str, str]
) -> Iterator[ItemPlace]:
    name, folder = table.path.name, table.path.parent
    columns = [content, *further.values()]
    for row, (value, *rest) in enumerate(table.read(columns), start=1):
        fields = dict(zip(further, rest, strict=True))
        split = as_split(f"row {row} of {name}", fields["split"]) if "split" in fields else None
        label, label_fault = as_label(fields["label"]) if "label" in fields else (None, None)
        path = f"{name}:{row}"
        found: bytes | Path
        if content == "text":
            found, fault = as_text(value)
        else:
            path, fault = as_path(path, value)
            found = folder / path
        group = as_label(fields["group"])[0] if "group" in fields else None
        yield ItemPlace(path, label, split, found, label_fault or fault, group)


def _modality_by_extension(seen: Counter[str]) -> str:
    total = seen.total()
    if not total:
        raise no_rows()
    of_files = {name: kind.extensions for name, kind in MODALITIES.items() if kind.extensions}
    for modality, extensions in of_files.items():
        if sum(seen[extension] for extension in extensions) * 2 > total:
            return modality
    named = (
        f"{name} ({', '.join(sorted(extension[1:] for extension in extensions))})"
        for name, extensions in of_files.items()
    )
    raise refusal(
        f"modality is auto, but most files have no known extension: {_listed(seen)}",
        f"a table with the column text, or files of {' or '.join(named)}",
        f"Set modality to {', '.join(of_files)} or bytes",
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
