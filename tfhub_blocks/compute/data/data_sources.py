"""Sources of a snapshot: a folder of classes, or a table of rows or of paths.

A source yields the places of its items, in its own order. A place that cannot be used states the
reason. This module raises only if the layout as a whole cannot be used.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from tfhub_blocks.compute.data.fields import (
    as_label,
    as_path,
    as_split,
    as_text,
    known_path,
    no_rows,
    refusal,
)
from tfhub_blocks.compute.data.folder_structure import (
    check_class_folders,
    check_split_folders,
    loose_files,
    structure_findings,
    structure_of,
)
from tfhub_blocks.compute.data.grouping import FOLDER, PATTERN, column_of, group_of
from tfhub_blocks.compute.data.item_tables import ItemTable, is_table, open_table
from tfhub_blocks.compute.data.source_files import (
    ATTRIBUTION_NAME,
    SourceFiles,
    extension_of,
    is_ignored,
    listed,
    listed_names,
    walk,
)
from tfhub_blocks.compute.data.source_links import SourceLinks
from tfhub_blocks.compute.data.split_names import split_of
from tfhub_blocks.compute.data.table_checks import (
    list_file_findings,
    missing_column,
    table_findings,
)
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.inspections import Finding

__all__ = ["ATTRIBUTION_NAME", "DataSource", "ItemPlace", "open_source"]

CLASS_FOLDERS = "a folder for each class"
SPLIT_FOLDERS = "folders of splits, each with a folder for each class"
TEXT_TABLE, PATH_TABLE = "a table of texts", "a table of paths"
NOT_NAMED = "no row of the table names the file"
BESIDE_TABLE = "the file is beside a table of texts"


class ItemPlace(NamedTuple):
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
class TextRows:
    """The rows of a table that has a text and a label in each row, to be read many at once.

    ``read`` yields text and label of each row, and ``place_of`` returns the place of a row by its
    number, from 1, and its values: the place that ``DataSource.places`` yields.
    """

    name: str
    read: Callable[[], Iterator[Sequence[Any]]]
    place_of: Callable[[int, Sequence[Any]], ItemPlace]


@dataclass(frozen=True)
class DataSource:
    """A source with a known layout; ``places`` can be read once.

    ``labels`` are the names of the class folders, including empty folders. ``column`` is the column
    of a table that contains the labels, and ``is_typed`` is False if it contains strings only.
    """

    modality: str
    places: Iterator[ItemPlace]
    total: int | None = None
    labels: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    links: SourceLinks = field(default_factory=lambda: SourceLinks(Path(), False))
    layout: str = CLASS_FOLDERS
    table: Path | None = None
    column: str | None = None
    is_typed: bool = True
    text_rows: TextRows | None = None
    files: SourceFiles | None = None
    """The files of class folders; None for a table."""


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
    checked = replace(found, links=links)
    if found.layout != TEXT_TABLE:
        checked = replace(checked, places=links.checked(found.places))
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
    top = [entry for entry in sorted(path.iterdir()) if not is_ignored(entry.name)]
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
        raise _no_folders(path, [entry.name for entry in top])
    if group_column:
        raise refusal(
            f"group_by names the column {group_column!r}, but the source is a folder of classes",
            "a table with this column",
            f"Set group_by to {FOLDER}, to {PATTERN}REGEX, or leave it empty",
        )
    return _folder_source(path, modality, respect_splits, links)


def _no_folders(folder: Path, names: list[str]) -> BlocksError:
    remedy = "Put the files of each class into a separate folder"
    if any(list_file_findings(folder, names)):
        remedy += ", or write the list as a CSV file with the header path,label"
    elif sum("\\" in name for name in names) * 2 > len(names):
        remedy = (
            "The names contain backslashes, as archives of Windows do: unpack the archive with a "
            "program that turns them into folders"
        )
    return refusal(
        f"the folder contains {listed_names(names)}, but no table and no folders"
        if names
        else "the folder is empty",
        "a folder for each class, or one table (.csv, .jsonl, .parquet)",
        remedy,
    )


def _folder_source(
    folder: Path, modality: str, respect_splits: bool, links: SourceLinks
) -> DataSource:
    found = walk(folder, links)
    structure = structure_of(found.files)
    if respect_splits:
        check_split_folders(found.folders)
    else:
        check_class_folders(structure, found.folders)
    depth = 1 if respect_splits else 0
    inside = [name for name in found.files if name.count("/") > depth]
    if not inside:
        raise refusal(
            "the class folders contain no files",
            "files in the class folders",
            f"Put files into the class folders of {folder}, or pass another folder",
        )
    modality = _modality_of_files(modality, inside, "columns text and label")
    inside, warnings = loose_files(found, depth, MODALITIES[modality].extensions)
    deep = sum(name.count("/") > depth + 1 for name in inside)
    loose = [name for name in found.files if "/" not in name]
    return DataSource(
        modality,
        _folder_places(folder, inside, depth),
        len(inside),
        tuple(
            sorted(
                {known_path(n.split("/")[depth]) for n in found.folders if n.count("/") >= depth}
            )
        ),
        findings=(
            *warnings,
            *structure_findings(structure, depth, deep, len(inside)),
            *list_file_findings(folder, loose),
        ),
        layout=SPLIT_FOLDERS if depth else CLASS_FOLDERS,
        files=found,
    )


def _unlabelled_folder(folder: Path, modality: str, links: SourceLinks) -> DataSource:
    files = [name for name in walk(folder, links).files if name != ATTRIBUTION_NAME]
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
        return _modality_by_extension(Counter(map(extension_of, files)))
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
        split = split_of(parts[0]) if depth else None
        yield ItemPlace(known_path(name), label, split, folder / name, fault)


def _grouped(source: DataSource, group_by: str) -> DataSource:
    if not group_by or column_of(group_by):
        return source
    rule = group_of(group_by)
    return replace(
        source,
        text_rows=None,
        places=(place._replace(group=rule(place.path)) for place in source.places),
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
    findings = table_findings(table, {content, *further.values()}, respect_splits)
    if modality == "auto":
        paths = (str(value or "") for (value,) in table.read(["path"]))
        modality = _modality_by_extension(Counter(map(extension_of, paths)))
    return DataSource(
        modality,
        _table_places(table, content, further),
        table.rows,
        findings=tuple(findings) if is_labelled else (),
        layout=TEXT_TABLE if content == "text" else PATH_TABLE,
        table=table.path,
        column=further.get("label"),
        text_rows=_text_rows(table, further) if content == "text" else None,
        is_typed=table.is_typed,
    )


def _require_columns(table: ItemTable, content: str, modality: str, further: list[str]) -> None:
    missing = [name for name in (content, *further) if name not in table.columns]
    if missing:
        # If both columns are missing and the modality is open, the user may have meant either.
        is_open = missing[0] == content and modality == "auto"
        raise missing_column(table, ("text", "path") if is_open else (missing[0],), further)


def _text_rows(table: ItemTable, further: Mapping[str, str]) -> "TextRows | None":
    if tuple(further) != ("label",):
        return None
    columns = ("text", further["label"])
    place_of = _row_reader(table, "text", ("label",))
    return TextRows(table.path.name, lambda: table.read(columns), place_of)


def _table_places(
    table: ItemTable, content: str, further: Mapping[str, str]
) -> Iterator[ItemPlace]:
    place_of = _row_reader(table, content, tuple(further))
    for row, values in enumerate(table.read([content, *further.values()]), start=1):
        yield place_of(row, values)


def _row_reader(
    table: ItemTable, content: str, further: tuple[str, ...]
) -> Callable[[int, Sequence[Any]], ItemPlace]:
    """Return the function from a row's number and its values to the place of its item."""
    name, folder = table.path.name, table.path.parent
    at = {field: number for number, field in enumerate(further, start=1)}
    label_at, split_at, group_at = at.get("label"), at.get("split"), at.get("group")

    def place_of(row: int, values: Sequence[Any]) -> ItemPlace:
        path = f"{name}:{row}"
        label = label_fault = split = group = None
        if split_at:
            split = as_split(f"row {row} of {name}", values[split_at])
        if label_at:
            label, label_fault = as_label(values[label_at])
        if group_at:
            group = as_label(values[group_at])[0]
        if content == "text":
            text, fault = as_text(values[0])
            return ItemPlace(path, label, split, text, label_fault or fault, group)
        path, fault = as_path(path, values[0])
        return ItemPlace(path, label, split, folder / path, label_fault or fault, group)

    return place_of


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
        f"modality is auto, but most files have no known extension: {listed(seen)}",
        f"a table with the column text, or files of {' or '.join(named)}",
        f"Set modality to {', '.join(of_files)} or bytes",
    )
