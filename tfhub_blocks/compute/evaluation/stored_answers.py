"""The answers of a model in an evaluation, stored next to the report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tfhub_blocks.records.base.parquet_bounds import MAX_TABLE_BYTES, read_groups

ANSWERS_NAME = "answers.parquet"
SCHEMA = pa.schema({"id": pa.string(), "probabilities": pa.list_(pa.float32())})


def write_answers(folder: Path, ids: Sequence[str], probabilities: NDArray[np.float32]) -> None:
    """Write the probabilities, [items, classes], of each item."""
    columns = [pa.array(ids, pa.string()), pa.array(list(probabilities), SCHEMA.types[1])]
    pq.write_table(pa.table(columns, schema=SCHEMA), folder / ANSWERS_NAME)


def read_answers(file: Path) -> dict[str, NDArray[np.float32]]:
    """Return the probabilities of each item, by id."""
    found: dict[str, NDArray[np.float32]] = {}
    for table in read_groups(file, SCHEMA.names, MAX_TABLE_BYTES):
        rows = (np.asarray(row, np.float32) for row in table["probabilities"].to_pylist())
        found.update(zip(table["id"].to_pylist(), rows, strict=True))
    return found
