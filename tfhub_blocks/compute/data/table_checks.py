"""Tables whose columns are not those that a data set needs, and what the user may have meant."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tfhub_blocks.compute.data.fields import printable, refusal
from tfhub_blocks.compute.data.item_tables import ItemTable
from tfhub_blocks.compute.data.label_checks import SEVERAL_REMEDY
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.formats.inspections import Finding

# Names under which data sets have their columns, the likeliest first.
_LABEL_WORDS = (
    "label labels class classes category categories target y label_name class_name classname "
    "sentiment topic intent species tag emotion genre coarse_label fine_label output answer "
    "diagnosis"
)
_TEXT_WORDS = (
    "text texts sentence document content body message review comment utterance tweet title "
    "description question"
)
_PATH_WORDS = (
    "path paths file filename file_name filepath file_path image image_path img audio "
    "audio_path wav name fname"
)
_SPLIT_WORDS = "split splits subset set partition phase usage fold data_split dataset"
LABEL_NAMES, TEXT_NAMES = tuple(_LABEL_WORDS.split()), tuple(_TEXT_WORDS.split())
PATH_NAMES, SPLIT_COLUMNS = tuple(_PATH_WORDS.split()), frozenset(_SPLIT_WORDS.split())
ROWS_LOOKED_AT = 1000
# A list of paths and numbers of classes without a header, as ImageNet and Caffe have it.
_FILE = re.compile(r"\S.*\.(jpe?g|png|gif|bmp|webp|tiff?|wav|flac|mp3|ogg)", re.I)
_LIST_LINE = re.compile(_FILE.pattern + r"[\s,;]+\d+\s*", re.I)
_MXNET_LINE = re.compile(r"\d+\t\d+(\.\d+)?\t\S.*", re.I)
_LIST_SUFFIXES = frozenset({".txt", ".lst", ".list"})


def missing_column(table: ItemTable, meant: tuple[str, ...], wanted: list[str]) -> BlocksError:
    """Return the error for a table that lacks a column.

    Args:
        table: The table.
        meant: The names of the missing column, of which one is needed.
        wanted: The names of all columns that are needed besides the path or the text.
    """
    columns = [printable(column) for column in table.columns]
    problem, remedy = _meant(table, meant, is_label=meant == tuple(wanted[:1]))
    return refusal(
        f"the table {table.path.name} has no column {' or '.join(meant)}; its columns are "
        + "; ".join([", ".join(columns), *filter(None, [problem])]),
        ", and ".join(["the columns path or text" if wanted else "a column path or text", *wanted]),
        remedy,
    )


def _meant(table: ItemTable, meant: tuple[str, ...], is_label: bool) -> tuple[str, str]:
    """Return what the columns look like, if that is clear, and the remedy."""
    columns = table.columns
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t|"):
        return "", "Separate the columns by commas"
    if any(map(_is_item, columns)):
        name = "path" if any(map(_looks_like_file, columns)) else "text"
        remedy = f"Add a first line with the names of the columns, such as {name},label"
        return "the first line is a row, not a header", remedy
    if is_label and (several := _several_columns(table)):
        problem = f"the columns {', '.join(several)} are labels of 0 and 1 (multi-label data)"
        return problem, f"Write one label of each row into a column {meant[0]}, {SEVERAL_REMEDY}"
    if is_label and (other := _alike(columns, LABEL_NAMES)):
        return "", f"Set label_column to {printable(other)}"
    if near := next(filter(None, (nearest(word, columns) for word in meant)), ""):
        return "", near
    names = {"text": TEXT_NAMES, "path": PATH_NAMES}
    for name in meant:
        if other := _alike(columns, names.get(name, ())):
            return "", f"Rename the column {printable(other)} to {name}"
    return "", f"Add the column {' or '.join(meant)}, or rename a column"


def table_findings(table: ItemTable, used: set[str], respect_splits: bool) -> Iterator[Finding]:
    """Yield what looks wrong with the columns of a table that can be used."""
    if "split" in table.columns and not respect_splits and "split" not in used:
        yield Finding(
            "split-names",
            "warning",
            "the column split of the table is ignored",
            "set respect_splits to true to use it",
            "split",
        )
    for column in table.columns:
        if column.strip().casefold() in SPLIT_COLUMNS - {"split"} and column not in used:
            yield Finding(
                "split-names",
                "warning",
                f"the column {printable(column)} of the table may contain splits, and is ignored",
                "if so, rename it to split and set respect_splits to true",
                column,
            )


def list_file_findings(folder: Path, names: list[str]) -> Iterator[Finding]:
    """Yield a warning for each list of paths and classes at the top of a folder of files."""
    for name in names:
        if Path(name).suffix.lower() in _LIST_SUFFIXES and _is_list(folder / name):
            yield Finding(
                "imagenet-list",
                "warning",
                f"{printable(name)} is a list of paths and numbers of classes without a header, "
                "as of ImageNet, and is not read",
                "if the labels are there, write them as a CSV file with the header path,label at "
                "the top of the source",
                printable(name),
            )


def _is_list(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            first = [line for line in islice(_lines(lines), 5) if line.strip()]
    except OSError:
        return False
    shapes = (_LIST_LINE, _MXNET_LINE)
    return bool(first) and any(all(s.fullmatch(line.rstrip()) for line in first) for s in shapes)


def _lines(file: object) -> Iterator[str]:
    """Yield the lines of a file, each of at most a few thousand characters."""
    while line := file.readline(4096):  # type: ignore[attr-defined]
        yield line


def _alike(columns: tuple[str, ...], names: tuple[str, ...]) -> str | None:
    """Return the column with the likeliest of some names, in any case."""
    folded = {column.strip().casefold(): column for column in reversed(columns)}
    return next((folded[name] for name in names if name in folded), None)


def _is_item(column: str) -> bool:
    """Return True if a column's name looks like a value: a path, a number, or a long text."""
    words = column.split()
    is_number = bool(re.fullmatch(r"[+-]?\d+(\.\d+)?", column.strip()))
    return _looks_like_file(column) or is_number or len(words) > 6


def _looks_like_file(column: str) -> bool:
    return bool(_FILE.fullmatch(column))


def _several_columns(table: ItemTable) -> list[str]:
    """Return columns of 0 and 1, of which there are two or more, or nothing."""
    values: dict[str, set[str]] = {column: set() for column in table.columns}
    try:
        for row in islice(table.read(table.columns), ROWS_LOOKED_AT):
            for column, value in zip(table.columns, row, strict=True):
                if len(values[column]) < 3:
                    values[column].add(str(value).strip().casefold())
    except BlocksError:
        return []
    flags = {"0", "1"}, {"0.0", "1.0"}, {"true", "false"}, {"0"}, {"1"}
    found = [column for column, seen in values.items() if seen in flags]
    return [printable(column) for column in found] if len(found) > 1 else []
