import pyarrow as pa
import pytest

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Format, begin_folder, finish_folder, open_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.base.shards import ShardWriter, read_batches

TABLE = Format("table", 1)
PROVENANCE = Provenance("make", {}, (), "1" * 64, "2" * 64, "", "")
SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string())])


def batches(count=6, rows=100):
    for start in range(0, count * rows, rows):
        numbers = range(start, start + rows)
        columns = [pa.array(numbers), pa.array([f"text {n}" for n in numbers])]
        yield pa.record_batch(columns, schema=SCHEMA)


def write(path, shard_bytes):
    partial = begin_folder(path, PROVENANCE)
    with ShardWriter(partial, SCHEMA, shard_bytes) as writer:
        for batch in batches():
            writer.write(batch)
    finish_folder(path, "table", TABLE, PROVENANCE)
    return open_folder(path, TABLE, "test"), writer


def test_what_is_read_is_what_was_written_in_order(tmp_path):
    folder, writer = write(tmp_path / "x", shard_bytes=4000)
    assert len(writer.names) > 1
    assert writer.rows == 600
    read = list(read_batches(folder, writer.names))
    assert pa.Table.from_batches(read) == pa.Table.from_batches(batches())


def test_batches_outlive_the_reading_of_their_shard(tmp_path):
    folder, writer = write(tmp_path / "x", shard_bytes=1)
    first = next(read_batches(folder, writer.names))
    assert first["text"][99].as_py() == "text 99"


def test_chosen_columns_alone_are_read(tmp_path):
    folder, writer = write(tmp_path / "x", shard_bytes=4000)
    assert next(read_batches(folder, writer.names, ["text"])).schema.names == ["text"]


@pytest.mark.parametrize("shard_bytes", [1, 4000, 10**9])
def test_same_batches_give_the_same_shards(shard_bytes, tmp_path):
    one, writer = write(tmp_path / "one", shard_bytes)
    other, _ = write(tmp_path / "other", shard_bytes)
    assert one.lineage.files == other.lineage.files
    assert writer.names == [
        f"shards/{number:05d}.arrow" for number in range(len(one.lineage.files))
    ]


def test_shard_ends_with_the_batch_that_reaches_its_size(tmp_path):
    size = max(batch.nbytes for batch in batches())
    for shard_bytes, shards in [(1, 6), (size + 1, 3), (10**9, 1)]:
        _, writer = write(tmp_path / str(shard_bytes), shard_bytes)
        assert len(writer.names) == shards


def test_flipped_byte_is_found_before_its_shard_is_read(tmp_path):
    folder, writer = write(tmp_path / "x", shard_bytes=4000)
    path = folder.path / writer.names[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    reading = read_batches(folder, writer.names)
    next(reading)
    with pytest.raises(
        BlocksError, match=r"table/1 .* > shards/00001.arrow\] file shards/00001.arrow has sha256"
    ):
        list(reading)


def test_truncated_shard_is_found(tmp_path):
    folder, writer = write(tmp_path / "x", shard_bytes=10**9)
    path = folder.path / writer.names[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BlocksError, match="has sha256"):
        list(read_batches(folder, writer.names))


def test_step_that_fails_while_writing_leaves_no_open_file(tmp_path):
    def fail():
        with ShardWriter(tmp_path, SCHEMA) as writer:
            writer.write(next(batches()))
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    with pa.memory_map(str(tmp_path / "shards" / "00000.arrow")) as source:
        assert pa.ipc.open_file(source).num_record_batches == 1
