"""Answers as columns: from a model's probabilities, and from earlier predictions."""

# decision 40

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tfhub_blocks.compute.predictions.scoring_rows import WHERE
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.parquet_bounds import read_group, read_groups
from tfhub_blocks.records.formats.features import ids_of
from tfhub_blocks.records.formats.predictions import Predictions, answer_schema

# The number of row groups of earlier predictions in memory.
GROUPS_HELD = 2


def answer_table(
    rows: NDArray[np.float32],
    labels: Sequence[str],
    top_k: int | None,
    keep_features: bool = False,
) -> pa.Table:
    """Convert probabilities, [n, classes], to answers (``answer_schema``).

    Of equal probabilities, the first wins. With ``keep_features``, the rows are [n, dimension +
    classes], and begin with the features.

    Raises:
        BlocksError: A feature is too large for float16.
    """
    width = rows.shape[1] - len(labels) if keep_features else 0
    features, probabilities = rows[:, :width], rows[:, width:]
    names = pa.array(labels, pa.string())
    most = min(top_k or 1, len(labels))
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    best = np.take_along_axis(probabilities, order, axis=1)
    columns = [names.take(pa.array(order[:, 0])), pa.array(best[:, 0], pa.float32())]
    if top_k:
        columns += [_lists(names.take(pa.array(order.ravel())), most), _lists(best.ravel(), most)]
    if not top_k or keep_features:
        columns.append(_lists(probabilities.astype(np.float32, copy=False).ravel(), len(labels)))
    if keep_features:
        columns.append(_lists(_halved(features).ravel(), width))
    return pa.table(columns, schema=answer_schema(top_k, keep_features))


def _halved(features: NDArray[np.float32]) -> NDArray[np.float16]:
    """Return features as float16."""
    largest, limit = float(np.abs(features).max(initial=0)), float(np.finfo(np.float16).max)
    if largest > limit:
        raise BlocksError(
            WHERE,
            "keep_features",
            f"a feature of {largest:.4g} is too large for float16",
            f"features up to {limit:.0f}",
            "Set keep_features=false",
        )
    return features.astype(np.float16)


def _lists(values: NDArray[np.floating] | pa.Array, width: int) -> pa.ListArray:
    """Return the values in lists of one length."""
    flat = values if isinstance(values, pa.Array) else pa.array(values)
    ends = np.arange(0, len(flat) + 1, width, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), flat)


class EarlierAnswers:
    """The answers of earlier predictions by the ids of contents, without unreadable contents.

    Memory contains 72 bytes for each row, and a few row groups.
    """

    def __init__(
        self, predictions: Predictions | None, top_k: int | None, keep_features: bool = False
    ) -> None:
        self._schema = answer_schema(top_k, keep_features)
        self._files = list(predictions.files()) if predictions else []
        self._starts: list[int] = []
        self._groups: list[tuple[Path, int]] = []
        ids, rows, start = [np.empty(0, "S64")], [np.empty(0, np.int64)], 0
        for path in self._files:
            for group, table in enumerate(read_groups(path, ["id", "label"])):
                answered = np.flatnonzero(np.asarray(table["label"].is_valid()))
                ids.append(ids_of(table["id"].take(pa.array(answered))))
                rows.append(start + answered)
                self._starts.append(start)
                self._groups.append((path, group))
                start += table.num_rows
        self._ids, firsts = np.unique(np.concatenate(ids), return_index=True)
        self._rows = np.concatenate(rows)[firsts]
        self._group = lru_cache(GROUPS_HELD)(self._read_group)

    def __contains__(self, item: str) -> bool:
        place = int(np.searchsorted(self._ids, item.encode()))
        return place < len(self._ids) and bool(self._ids[place] == item.encode())

    def take(self, items: Sequence[str]) -> pa.Table:
        """Return the answers for some known ids, in the order of the ids (``answer_schema``)."""
        rows = self._rows[np.searchsorted(self._ids, np.array(items, "S64"))]
        groups = np.searchsorted(self._starts, rows, "right") - 1
        tables, order = [self._schema.empty_table()], [np.empty(0, np.int64)]
        for group in np.unique(groups):
            chosen = np.flatnonzero(groups == group)
            tables.append(self._group(group).take(pa.array(rows[chosen] - self._starts[group])))
            order.append(chosen)
        back = np.argsort(np.concatenate(order))
        return pa.concat_tables(tables).take(pa.array(back))

    def _read_group(self, number: int) -> pa.Table:
        path, group = self._groups[number]
        return read_group(path, group, self._schema.names).cast(self._schema)
