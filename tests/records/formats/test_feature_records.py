import dataclasses

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from simulated_features import World, write_features

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.features import open_features

WORLD = World(dim=8, classes=3)
ITEMS = 3000


@pytest.fixture(params=[np.float32, np.float16], ids=["float32", "float16"])
def features(request, tmp_path):
    """Three batches in two shards; splits are mixed."""
    folder = write_features(tmp_path / "features", ITEMS, WORLD, request.param, shard_bytes=100_000)
    opened = open_features(folder, "test")
    assert len(opened.manifest.shards) > 1
    return opened


@pytest.mark.parametrize("rows", [1, 700, 1024, 10_000])
def test_split_gives_in_order_what_was_written(features, rows):
    table = pa.Table.from_batches(features.batches()).to_pandas()
    for name in ("train", "validation"):
        expected = table[table["split"] == name]
        vectors, targets, ids = features.split(name)
        chunks = [chunk.copy() for chunk in vectors.chunks(rows)]
        assert {chunk.dtype for chunk in chunks} == {np.dtype(np.float32)}
        assert {len(chunk) for chunk in chunks[:-1]} <= {rows}
        np.testing.assert_array_equal(np.concatenate(chunks), np.stack(expected["vector"]))
        np.testing.assert_array_equal(np.asarray(vectors), np.concatenate(chunks))
        assert [features.manifest.labels[index] for index in targets] == list(expected["label"])
        assert list(ids) == list(expected["id"])
        assert (ids[0], ids[700 % len(ids)]) == (ids[:][0], ids[:][700 % len(ids)])
        assert vectors.shape == (len(ids), 8) == (len(targets), 8)


def test_split_without_items_is_empty(features):
    vectors, targets, ids = features.split("nowhere")
    assert (vectors.shape, len(targets), len(ids)) == ((0, 8), 0, 0)
    assert list(vectors.chunks(10)) == []
    assert np.asarray(vectors).shape == (0, 8)


def test_shards_are_tables_that_others_open(features):
    table = pd.concat(
        pd.read_feather(features.folder.file(name)) for name in features.manifest.shards
    )
    assert list(table.columns) == ["id", "label", "split", "vector"]
    assert len(table) == ITEMS


def test_item_that_is_there_twice_is_named(tmp_path):
    ids = [f"item-{number:04d}" for number in range(2000)]
    ids[1024] = ids[1023]  # the last of one batch and the first of the next
    folder = write_features(tmp_path / "features", 2000, WORLD, ids=ids)
    with pytest.raises(BlocksError, match=r"item item-1023\] the item occurs twice. Expected"):
        open_features(folder, "test").check_ids()
    write_features(tmp_path / "once", 2000, WORLD)
    open_features(tmp_path / "once", "test").check_ids()


def test_label_that_the_manifest_lacks_is_named(features):
    fewer = dataclasses.replace(features.manifest, labels=WORLD.labels[:2])
    with pytest.raises(
        BlocksError, match=r"item [0-9a-f]{64}\] the item has the label 'class 002'. Expected"
    ):
        dataclasses.replace(features, manifest=fewer).split("train")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "file shards/00001.arrow is missing. Expected sha256"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-100]),
            "file shards/00001.arrow has sha256 [0-9a-f]{64}. Expected [0-9a-f]{64}, as its step",
        ),
    ],
    ids=["missing", "truncated"],
)
def test_damaged_shard_is_named_before_it_is_read(features, damage, message):
    damage(features.folder.path / "shards/00001.arrow")
    with pytest.raises(BlocksError, match=message) as caught:
        features.split("train")
    assert "restore the folder from a copy" in str(caught.value)
