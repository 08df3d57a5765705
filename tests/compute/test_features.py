import gc
import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pytest
from PIL import Image

from tfhub_blocks.compute.encoders import Encoder, load_encoder
from tfhub_blocks.compute.features import CPU_BATCH_SIZE, Extraction, Options, Share
from tfhub_blocks.compute.runtime import tf
from tfhub_blocks.records.errors import BlocksError
from tfhub_blocks.records.features import FORMAT, open_features
from tfhub_blocks.records.folders import begin_folder, finish_folder
from tfhub_blocks.records.lineage import Provenance
from tfhub_blocks.records.snapshots import open_snapshot

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")


@pytest.fixture(scope="module")
def encoder(imported_encoder: Path) -> Encoder:
    return load_encoder(imported_encoder, "test")


def extracted(
    snapshot: Path,
    encoder: Encoder,
    folder: Path,
    options: Options | None = None,
    previous: Path | None = None,
    workers: int = 1,
) -> pa.Table:
    """The features of a snapshot, as one process after the other makes them."""
    partial = begin_folder(folder, PROVENANCE)
    earlier = open_features(previous, "test") if previous else None
    extraction = Extraction(open_snapshot(snapshot, "test"), encoder, options or Options(), earlier)
    work = folder.with_name(f"{folder.name}.work")
    for index in range(workers):
        plan = extraction.compute(Share(work, index, workers), ignore)
    extraction.assemble(plan, Share(work, 0, workers), partial, ignore)
    finish_folder(folder, "features", FORMAT, PROVENANCE)
    return pa.Table.from_batches(open_features(folder, "test").batches())


def ignore(*_: int) -> None:
    """Nobody looks at the progress."""


@pytest.mark.parametrize("count", [1, CPU_BATCH_SIZE, 3 * CPU_BATCH_SIZE + 5])
def test_rows_follow_the_snapshot_and_hold_what_the_encoder_gives(
    count: int, encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    snapshot = write_test_snapshot(tmp_path / "snapshot", map(jpeg, range(count)))

    table = extracted(snapshot, encoder, tmp_path / "features")

    stored = pa.Table.from_batches(open_snapshot(snapshot, "test").batches())
    assert table.select(["id", "label", "split"]) == stored.select(["id", "label", "split"])
    contents = tf.constant(stored["content"].to_pylist())
    expected = encoder.features(encoder.preprocess(contents)).numpy()
    assert np.array(table["vector"].to_pylist()) == pytest.approx(expected, abs=1e-5)
    manifest = open_features(tmp_path / "features", "test").manifest
    assert (manifest.items, manifest.dimension) == (count, 24)
    assert manifest.encoder_digest == encoder.pin.digest
    assert manifest.preprocessing == encoder.input.describe()


def test_bits_do_not_depend_on_the_run_nor_on_how_much_is_left_for_the_last_batch(
    encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    contents = [jpeg(seed) for seed in range(3 * CPU_BATCH_SIZE)]
    by_id = sorted(contents, key=lambda content: hashlib.sha256(content).digest())
    whole = write_test_snapshot(tmp_path / "whole", contents)
    part = write_test_snapshot(tmp_path / "part", by_id[: 2 * CPU_BATCH_SIZE + 1], rows=3)

    first = extracted(whole, encoder, tmp_path / "first")
    second = extracted(whole, encoder, tmp_path / "second")
    of_part = extracted(part, encoder, tmp_path / "of_part")

    assert first == second
    assert of_part == first.slice(0, 2 * CPU_BATCH_SIZE + 1)
    assert (tmp_path / "first/shards/00000.arrow").read_bytes() == (
        tmp_path / "second/shards/00000.arrow"
    ).read_bytes()


def test_an_item_that_cannot_be_decoded_is_named(
    encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    broken = jpeg(100, (300, 300))[:800]
    snapshot = write_test_snapshot(tmp_path / "snapshot", [*map(jpeg, range(30)), broken])

    with pytest.raises(BlocksError) as caught:
        extracted(snapshot, encoder, tmp_path / "features")

    assert hashlib.sha256(broken).hexdigest() in str(caught.value)
    assert "it cannot be decoded (InvalidArgumentError" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_item_whose_features_are_not_finite_is_named(
    encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    file = io.BytesIO()
    Image.new("RGB", (9, 9), "white").save(file, "PNG")
    snapshot = write_test_snapshot(tmp_path / "snapshot", [*map(jpeg, range(30)), file.getvalue()])

    def divide_by_darkness(images: tf.Tensor) -> tf.Tensor:
        darkness = 1 - tf.reduce_min(images, [1, 2, 3])
        return tf.ones([1, 24]) / tf.round(darkness * 100)[:, None]

    faulty = replace(encoder, loaded=replace(encoder.loaded, call=divide_by_darkness))
    with pytest.raises(BlocksError, match="NaN or infinite") as caught:
        extracted(snapshot, faulty, tmp_path / "features")

    assert caught.value.what == f"item {hashlib.sha256(file.getvalue()).hexdigest()}"


def test_a_flipped_byte_in_a_shard_is_found_before_it_is_used(
    encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    snapshot = write_test_snapshot(tmp_path / "snapshot", map(jpeg, range(30)))
    shard = snapshot / "shards/00001.arrow"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)

    with pytest.raises(BlocksError, match=r"shards/00001.arrow\] item .* has another content"):
        extracted(snapshot, encoder, tmp_path / "features")


def test_another_modality_is_refused(encoder: Encoder, write_test_snapshot, tmp_path: Path) -> None:
    snapshot = write_test_snapshot(tmp_path / "snapshot", [b"a text"], modality="text")

    with pytest.raises(BlocksError, match="items are text, small takes image; expected the same"):
        extracted(snapshot, encoder, tmp_path / "features")


def test_memory_does_not_grow_with_the_items(
    encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    """4,000 items of 200 kB are 800 MB; what is under way at once are 32 of them."""
    random = np.random.default_rng(0)
    base = jpeg(0)
    contents = (base + random.bytes(200_000) for _ in range(4000))
    snapshot = write_test_snapshot(tmp_path / "snapshot", contents, rows=50)
    gc.collect()
    process, seen = psutil.Process(), []

    def watch(done: int, total: int) -> None:
        # After the first batch all is loaded that is needed, engines included.
        if done % 100 <= CPU_BATCH_SIZE:
            seen.append(process.memory_full_info().uss)

    partial = begin_folder(tmp_path / "features", PROVENANCE)
    extraction, share = Extraction(open_snapshot(snapshot, "test"), encoder), Share(tmp_path / "w")
    extraction.assemble(extraction.compute(share, watch), share, partial, watch)

    assert max(seen) - seen[0] < 200e6
