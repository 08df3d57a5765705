"""Twins: test items that have a near duplicate in training or validation.

A snapshot contains its groups of near duplicates, so that a snapshot with other splits finds its
own twins.
"""

# decisions 81 and 120

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tfhub_blocks.records.base.folders import Folder
from tfhub_blocks.records.base.parquet_bounds import read_bounded

# Test items that have a near duplicate in training or validation, each with one of them.
TWINS_NAME = "twins.parquet"
TWINS_SCHEMA = pa.schema([("id", pa.string()), ("twin", pa.string())])

# Items that are near duplicates of others; ``group`` is the lowest id of the group.
GROUPS_NAME = "near_duplicates.parquet"
GROUPS_SCHEMA = pa.schema([("id", pa.string()), ("group", pa.string())])

# Items with different contents and the same features, with a group as above.
SAME_FEATURES_NAME = "same_features.parquet"

IN_ONE_SPLIT = ": each group is in one split"
_TWIN_END = (
    " test items have a near duplicate in training or validation: evaluate checks thresholds "
    "without them"
)


def twins_of(groups: Iterable[tuple[str, str]], splits: Mapping[str, str]) -> dict[str, str]:
    """Return each test item that shares a group with an item of another split, and that item.

    Args:
        groups: Ids and groups, in the order of ids.
        splits: The split of each id.
    """
    learned: dict[str, str] = {}
    tested: list[tuple[str, str]] = []
    for item, group in groups:
        if splits[item] == "test":
            tested.append((item, group))
        else:
            learned.setdefault(group, item)
    return {item: learned[group] for item, group in tested if group in learned}


def write_twins(folder: Path, twins: Mapping[str, str]) -> None:
    """Write the table of twins into an unfinished folder, if there are any."""
    _write(folder / TWINS_NAME, TWINS_SCHEMA, twins)


def write_groups(folder: Path, groups: Mapping[str, str]) -> None:
    """Write the groups of near duplicates into an unfinished folder, if there are any."""
    _write(folder / GROUPS_NAME, GROUPS_SCHEMA, groups)


def write_same_features(folder: Path, groups: Mapping[str, str]) -> None:
    """Write the groups of items with the same features into an unfinished folder, if any."""
    _write(folder / SAME_FEATURES_NAME, GROUPS_SCHEMA, groups)


def read_twins(folder: Folder) -> dict[str, str]:
    """Return the twins in a finished folder; none if it has no table."""
    return dict(_rows(folder, TWINS_NAME))


def derive_twins(folder: Path, like: Folder, splits: Mapping[str, str]) -> int:
    """Write groups and twins of a snapshot that has items of another one; return the twins' number.

    Args:
        folder: The unfinished folder.
        like: The other snapshot.
        splits: The split of each item, by its id.
    """
    groups = {item: group for item, group in _rows(like, GROUPS_NAME) if item in splits}
    # A snapshot of an earlier release has twins without groups.
    twins = twins_of(groups.items(), splits) or {
        item: twin
        for item, twin in _rows(like, TWINS_NAME)
        if splits.get(item) == "test" and splits.get(twin, "test") != "test"
    }
    write_groups(folder, groups)
    write_twins(folder, twins)
    return len(twins)


def twins_warning(twins: int) -> str:
    """Return the warning of a snapshot with twins."""
    return f"{twins}{_TWIN_END}"


def without_twin_warnings(warnings: Iterable[str]) -> Iterator[str]:
    """Yield the warnings that are as true of a snapshot with other splits."""
    for warning in warnings:
        if not warning.endswith(_TWIN_END):
            yield warning.removesuffix(IN_ONE_SPLIT)


def _write(path: Path, schema: pa.Schema, rows: Mapping[str, str]) -> None:
    if rows:
        columns = [pa.array(side, pa.string()) for side in zip(*rows.items(), strict=True)]
        pq.write_table(pa.table(columns, schema=schema), path)


def _rows(folder: Folder, name: str) -> Iterator[tuple[str, str]]:
    if name in folder.lineage.files:
        table = read_bounded(folder.file(name))
        yield from zip(*(column.to_pylist() for column in table.columns), strict=True)
