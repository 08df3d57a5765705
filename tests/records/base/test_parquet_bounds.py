"""Parquet files that claim more memory than they have bytes."""

import contextlib
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfhub_blocks.compute.data.item_tables import open_table
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.parquet_bounds import batch_rows, read_bounded

READ = """
import resource, sys
from pathlib import Path
from tfhub_blocks.compute.data.item_tables import open_table
rows = 0
for text, label in open_table(Path(sys.argv[1])).read(["text", "label"]):
    rows += 1
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def repeated(path: Path, size: int, rows: int) -> Path:
    """A table of one long text in each row, which a dictionary stores once."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["a" * size])
    label = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), ["b"])
    table = pa.table({"text": text, "label": label})
    pq.write_table(
        table, path, compression="zstd", store_schema=False, dictionary_pagesize_limit=2**31 - 1
    )
    return path


def test_a_dictionary_that_expands_to_gigabytes_is_read_within_the_bound(tmp_path: Path) -> None:
    path = repeated(tmp_path / "table.parquet", 2**26, 100)
    assert path.stat().st_size < 20_000

    told = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True
    ).stdout

    rows, peak_kib = map(int, told.split())
    assert rows == 100
    assert peak_kib < 2 * 2**20


def test_a_page_above_the_bound_is_refused_in_one_line(tmp_path: Path) -> None:
    path = repeated(tmp_path / "table.parquet", 2**29, 2)

    with pytest.raises(BlocksError, match="has a page of 536,870,9") as caught:
        list(open_table(path).read(["text", "label"]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_the_headers_of_all_pages_are_read(tmp_path: Path, version: str, compression: str) -> None:
    path = tmp_path / "table.parquet"
    texts = [f"text {number}" * (number % 9) for number in range(50_000)]
    table = pa.table({"text": texts, "number": range(50_000)})
    pq.write_table(
        table, path, compression=compression, data_page_version=version, row_group_size=9_000,
        data_page_size=20_000, write_page_index=True,
    )  # fmt: skip

    with pq.ParquetFile(path) as file:
        assert 100 < batch_rows(file, path, ["text"], 2**30) < 2**16
    assert read_bounded(path).equals(table)
    assert read_bounded(path, ["number"]).num_rows == 50_000


def test_lists_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"text": [["a"]], "label": ["b"]}), path)

    with pytest.raises(BlocksError, match="has lists in the column 'text"):
        list(open_table(path).read(["text", "label"]))


@pytest.mark.parametrize("at", range(4, 40, 5))
def test_a_damaged_header_is_refused(tmp_path: Path, at: int) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"text": ["a", "b"]}), path)
    content = bytearray(path.read_bytes())
    content[at] ^= 0xFF
    path.write_bytes(content)

    # A flipped byte of a value is not noticed; whatever is noticed is no other error.
    with contextlib.suppress(BlocksError, pa.ArrowException, OSError):
        read_bounded(path)


@pytest.mark.parametrize("name", ["table.csv", "table.jsonl"])
def test_a_row_without_an_end_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfhub_blocks.compute.data.item_tables.MAX_RECORD_CHARACTERS", 1000)
    (tmp_path / name).write_text("a," * 1000)

    with pytest.raises(BlocksError, match="has a row of more than 1,000 characters"):
        list(open_table(tmp_path / name).read(["a"]))
