"""Answers as columns: from a model's probabilities, and from earlier predictions."""

# decision 40

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tfhub_blocks.records.formats.features import ids_of
from tfhub_blocks.records.formats.predictions import Predictions, answer_schema

# The number of row groups of earlier predictions in memory.
GROUPS_HELD = 2


def answer_table(
    probabilities: NDArray[np.float32], labels: Sequence[str], top_k: int | None
) -> pa.Table:
    """Convert probabilities, [n, classes], to answers (``answer_schema``).

    Of equal probabilities, the first wins.
    """
    names = pa.array(labels, pa.string())
    width = min(top_k or 1, len(labels))
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :width]
    best = np.take_along_axis(probabilities, order, axis=1)
    columns = [names.take(pa.array(order[:, 0])), pa.array(best[:, 0], pa.float32())]
    if top_k:
        columns += [_lists(names.take(pa.array(order.ravel())), width), _lists(best.ravel(), width)]
    else:
        columns.append(_lists(probabilities.ravel(), len(labels)))
    return pa.table(columns, schema=answer_schema(top_k))


def _lists(values: NDArray[np.float32] | pa.Array, width: int) -> pa.ListArray:
    """Return the values in lists of one length."""
    flat = values if isinstance(values, pa.Array) else pa.array(values, pa.float32())
    ends = np.arange(0, len(flat) + 1, width, dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(ends), flat)


class EarlierAnswers:
    """The answers of earlier predictions by the ids of contents, without unreadable contents.

    Memory contains 72 bytes for each row, and a few row groups.
    """

    def __init__(self, predictions: Predictions | None, top_k: int | None) -> None:
        self._schema = answer_schema(top_k)
        self._files = list(predictions.files()) if predictions else []
        self._starts: list[int] = []
        self._groups: list[tuple[Path, int]] = []
        ids, rows, start = [np.empty(0, "S64")], [np.empty(0, np.int64)], 0
        for path in self._files:
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, ["id", "label"])
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
        with pq.ParquetFile(path) as file:
            return file.read_row_group(group, self._schema.names).cast(self._schema)
