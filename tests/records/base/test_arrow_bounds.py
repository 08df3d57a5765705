"""Arrow files that claim more memory than they have bytes, and row groups with lists."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfhub_blocks.records.base.arrow_bounds import open_arrow
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.parquet_bounds import read_group, read_groups

SCHEMA = pa.schema({"id": pa.string(), "vector": pa.list_(pa.float32(), 3)})


def write(path: Path, table: pa.Table, compression: str | None = None) -> Path:
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(str(path), table.schema, options=options) as writer:
        for batch in table.to_batches(max_chunksize=100_000):
            writer.write_batch(batch)
    return path


def vectors(rows: int) -> pa.Table:
    flat = pa.array(np.arange(3 * rows, dtype=np.float32))
    lists = pa.FixedSizeListArray.from_arrays(flat, 3)
    return pa.table([pa.array(map(str, range(rows)), pa.string()), lists], schema=SCHEMA)


def read(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return open_arrow(source, path).read_all()


@pytest.mark.parametrize("rows", [0, 1, 50])
def test_file_that_a_step_writes_is_read(tmp_path, rows):
    table = vectors(rows)
    assert read(write(tmp_path / "a.arrow", table)).equals(table)


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
def test_compressed_batch_is_refused_before_it_is_read(tmp_path, compression):
    zeros = pa.table({"content": pa.array([b"\0" * 2**28], pa.binary())})
    path = write(tmp_path / "a.arrow", zeros, compression)
    assert path.stat().st_size < 2**21
    before = pa.total_allocated_bytes()
    with pytest.raises(BlocksError, match="has a compressed batch") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert pa.total_allocated_bytes() - before < 2**20


@pytest.mark.parametrize(
    "values",
    [
        pa.nulls(1_000_000),
        pa.array([0] * 10, pa.int32()).dictionary_encode(),
        pa.RunEndEncodedArray.from_arrays([1_000_000], ["a" * 1000]),
        pa.array(["a" * 100] * 10, pa.string_view()),
        pa.array([{"a": 1}]),
        pa.array([[None]], pa.list_(pa.null())),
    ],
)
def test_type_that_repeats_values_is_refused(tmp_path, values):
    path = write(tmp_path / "a.arrow", pa.table({"id": values}))
    with pytest.raises(BlocksError, match=r"has the type|has dictionaries|claims"):
        read(path)


def test_every_damage_is_an_error_of_arrow_or_of_ours(tmp_path):
    good = write(tmp_path / "good.arrow", vectors(20)).read_bytes()
    random = np.random.default_rng(7)
    path = tmp_path / "bad.arrow"
    for number in range(300):
        content = bytearray(good)
        for _ in range(int(random.integers(1, 4))):
            content[int(random.integers(len(content)))] = int(random.integers(256))
        if number % 5 == 0:
            del content[int(random.integers(len(content))) :]
        path.write_bytes(content)
        try:
            read(path)
        except (BlocksError, pa.ArrowException, OSError):
            continue


def predictions(path: Path, lists: pa.Array, **options) -> Path:
    table = pa.table({"id": pa.array(["a"] * len(lists)), "top_labels": lists})
    pq.write_table(table, path, store_schema=False, compression="zstd", **options)
    return path


def test_row_group_with_lists_is_read_as_it_was_written(tmp_path):
    lists = pa.array([["a", "b"], [], ["a" * 40, None], None], pa.list_(pa.string()))
    half = pa.array(np.ones(4, np.float16))
    table = pa.table(
        {
            "id": pa.array(["a", "b", "c", "d"]),
            "top_labels": lists,
            "vector": pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4], pa.int32()), half),
        }
    )
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, row_group_size=3)
    groups = list(read_groups(path))
    assert [len(group) for group in groups] == [3, 1]
    assert pa.concat_tables(groups).equals(table)
    assert read_group(path, 1, ["id"]).column_names == ["id"]


def test_list_that_a_dictionary_expands_to_gigabytes_is_refused(tmp_path):
    label = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), ["a" * 2**20])
    lists = pa.ListArray.from_arrays(pa.array([0, 5000], pa.int32()), label)
    path = predictions(tmp_path / "t.parquet", lists, dictionary_pagesize_limit=2**31 - 1)
    assert path.stat().st_size < 20_000
    before = pa.total_allocated_bytes()
    with pytest.raises(BlocksError, match="bytes for its texts, more than") as caught:
        read_group(path, 0, ["id", "top_labels"])
    assert "\n" not in str(caught.value)
    assert pa.total_allocated_bytes() - before < 2**26


def test_list_with_more_values_than_the_bound_is_refused_before_it_is_read(tmp_path):
    zeros = pa.array(np.zeros(1_000_000, np.float32))
    lists = pa.ListArray.from_arrays(pa.array([0, len(zeros)], pa.int32()), zeros)
    path = predictions(tmp_path / "t.parquet", lists)
    assert path.stat().st_size < 2**16
    with pytest.raises(BlocksError, match="bytes for its row group 0"):
        read_group(path, 0, most=2**22)
