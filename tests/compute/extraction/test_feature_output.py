import gc
import hashlib
import io
import re
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tfhub_blocks.compute.encoders.encoder import Encoder, load_encoder
from tfhub_blocks.compute.extraction.extraction import CPU_BATCH_SIZE, Extraction
from tfhub_blocks.compute.extraction.feature_output import note_neighbours, write_extraction
from tfhub_blocks.compute.inference.shared_work import InferenceOptions, Share
from tfhub_blocks.compute.models.head_training import run_head_training
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.digests import files_sha256
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Lineage, Provenance
from tfhub_blocks.records.formats.features import FEATURES, open_features
from tfhub_blocks.records.formats.models import (
    MODEL,
    are_training_items,
    open_model,
    read_feature_twins,
)
from tfhub_blocks.records.formats.snapshot_writer import write_items
from tfhub_blocks.records.formats.snapshots import SNAPSHOT, open_snapshot
from tfhub_blocks.records.formats.twins import read_twins

TENSORFLOW = InferenceOptions("tensorflow")
PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")


@pytest.fixture(scope="module")
def encoder(imported_encoder: Path) -> Encoder:
    return load_encoder(imported_encoder, "test")


def extracted(
    snapshot: Path,
    encoder: Encoder,
    folder: Path,
    options: InferenceOptions | None = None,
    previous: Path | None = None,
    workers: int = 1,
) -> pa.Table:
    """The features of a snapshot, as one process after the other makes them."""
    partial = begin_folder(folder, PROVENANCE)
    earlier = open_features(previous, "test") if previous else None
    extraction = Extraction(
        open_snapshot(snapshot, "test"), encoder, options or TENSORFLOW, earlier
    )
    work = folder.with_name(f"{folder.name}.work")
    for index in range(workers):
        plan = extraction.compute(Share(work, index, workers), ignore)
    write_extraction(extraction, plan, Share(work, 0, workers), partial, ignore)
    finish_folder(folder, "features", FEATURES, PROVENANCE)
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
    expected = encoder.encode(stored["content"].to_pylist())
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
    assert "the image cannot be decoded: image file is truncated" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_items_whose_features_are_not_finite_are_rejected_by_any_number_of_workers(
    encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    whites = []
    for side in range(9, 49):
        file = io.BytesIO()
        Image.new("RGB", (side, 9), "white").save(file, "PNG")
        whites.append(file.getvalue())
    contents = [*map(jpeg, range(560)), *whites]
    snapshot = write_test_snapshot(tmp_path / "snapshot", contents, rows=50)

    def divide_by_darkness(images: tf.Tensor) -> tf.Tensor:
        darkness = 1 - tf.reduce_min(images, [1, 2, 3])
        return tf.ones([1, 24]) / tf.round(darkness * 100)[:, None]

    faulty = replace(encoder, loaded=replace(encoder.loaded, call=divide_by_darkness))
    table = extracted(snapshot, faulty, tmp_path / "features")

    rejected = {hashlib.sha256(content).hexdigest() for content in whites}
    everything = open_snapshot(snapshot, "test").index()
    kept = [row for row in everything.to_pylist() if row["id"] not in rejected]
    assert table.select(["id", "label", "split"]).to_pylist() == kept
    rows = pq.read_table(tmp_path / "features/rejected.parquet").to_pylist()
    assert {row["id"] for row in rows} == rejected
    assert {row["reason"] for row in rows} == {
        "the encoder returns float32 features that are NaN or infinite"
    }
    manifest = open_features(tmp_path / "features", "test").manifest
    assert (manifest.items, manifest.rejected) == (560, 40)
    assert manifest.warnings[0].startswith(
        "40 items were rejected: the encoder returns float32 features that are NaN or infinite ("
    )
    # Workers, an earlier attempt and earlier features change nothing.
    extracted(snapshot, faulty, tmp_path / "shared", workers=3)
    assert shards(tmp_path / "shared") == shards(tmp_path / "features")
    again = extracted(snapshot, faulty, tmp_path / "again", previous=tmp_path / "features")
    assert again == table
    # The step ends if nothing is left.
    none = write_test_snapshot(tmp_path / "none", whites)
    with pytest.raises(BlocksError, match="NaN or infinite") as caught:
        extracted(none, faulty, tmp_path / "nothing")
    assert caught.value.what.removeprefix("item ") in rejected


def test_twins_go_with_the_features_into_the_model(
    encoder: Encoder, coloured_snapshot: Path, imported_encoder: Path, tmp_path: Path
) -> None:
    """The views of a picture that this encoder cannot distinguish have other contents."""
    snapshot = open_snapshot(coloured_snapshot, "test")
    items = list(snapshot.items())
    # Each test item has a copy in training, whose content alone differs.
    copied = {it.id: replace(it, id=hashlib.sha256(it.content + b"\0").hexdigest(),
                             content=it.content + b"\0", split="train")
              for it in items if it.split == "test"}  # fmt: skip
    both = sorted([*items, *copied.values()], key=lambda it: it.id)
    folder = begin_folder(tmp_path / "snapshot", PROVENANCE)
    written, digest = write_items(folder, both)
    counts = {split: dict(Counter(it.label for it in both if it.split == split))
              for split in snapshot.manifest.counts}  # fmt: skip
    shards = {"shards": tuple(written.names), "shard_rows": tuple(written.shard_rows)}
    of_both = {"digest": digest, "items": len(both), "counts": counts}
    replace(snapshot.manifest, **of_both, **shards).write(folder)
    finish_folder(tmp_path / "snapshot", "snapshot", SNAPSHOT, PROVENANCE)
    doubled = open_snapshot(tmp_path / "snapshot", "test")

    partial = begin_folder(tmp_path / "features", PROVENANCE)
    extraction, share = Extraction(doubled, encoder, TENSORFLOW), Share(tmp_path / "work")
    manifest = write_extraction(
        extraction, extraction.compute(share, ignore), share, partial, ignore
    )
    noted = note_neighbours(doubled, partial, manifest)
    finish_folder(tmp_path / "features", "features", FEATURES, PROVENANCE)

    features = open_features(tmp_path / "features", "test")
    assert features.manifest == noted
    assert {it: copied[it].id for it in copied} == read_twins(features.folder)
    assert f"{2 * len(copied)} items have the same features as another item" in noted.warnings[0]
    assert noted.warnings[1].startswith(f"{len(copied)} test items have features nearly equal")

    run = Run(tmp_path, imported_encoder)
    run_head_training(run, features, [1.0], False, 100)
    finish_folder(tmp_path / "model", "model", MODEL, PROVENANCE)
    model, metadata = open_model(tmp_path / "model", "test")
    assert are_training_items(read_feature_twins(model), copied).all()
    assert len(read_feature_twins(model)) == len(copied)
    assert metadata["data_warnings"] == list(noted.warnings)

    # Whoever does not want to look for near duplicates finds none.
    rule = {**doubled.manifest.split_rule, "near_duplicates": "off"}
    off = replace(doubled, manifest=replace(doubled.manifest, split_rule=rule))
    (tmp_path / "other").mkdir()
    shutil.copytree(features.folder.path / "shards", tmp_path / "other/shards")
    assert len(note_neighbours(off, tmp_path / "other", manifest).warnings) == 1


class Run:
    """What train_head asks of its run."""

    def __init__(self, folder: Path, encoder: Path) -> None:
        self.folder, self.encoder, self.facts = folder, encoder, {}

    def path(self, port: str) -> Path:
        assert port == "encoder"
        return self.encoder

    def begin_output(self, port: str, _format: object) -> Path:
        return begin_folder(self.folder / port, PROVENANCE)


def test_a_flipped_byte_in_a_shard_is_found_before_it_is_used(
    encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    snapshot = write_test_snapshot(tmp_path / "snapshot", map(jpeg, range(30)))
    shard = snapshot / "shards/00001.arrow"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)

    with pytest.raises(BlocksError, match=r"the content of item .* does not match its id"):
        extracted(snapshot, encoder, tmp_path / "features")


def test_a_shard_whose_offsets_were_changed_is_damaged_and_no_memory_fault(
    encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    snapshot = write_test_snapshot(tmp_path / "snapshot", map(jpeg, range(30)))
    shard = snapshot / "shards/00000.arrow"
    content = shard.read_bytes()
    (batch,) = pa.ipc.open_file(str(shard)).read_all().to_batches()
    offsets = batch["content"].buffers()[1].to_pybytes()
    assert content.count(offsets) == 1
    far = np.frombuffer(offsets, "<i4").copy()
    far[2:] += 2**30
    shard.write_bytes(content.replace(offsets, far.tobytes()))

    with pytest.raises(BlocksError, match=r"file shards/00000.arrow cannot be read"):
        extracted(snapshot, encoder, tmp_path / "features")


def test_another_modality_is_refused(encoder: Encoder, write_test_snapshot, tmp_path: Path) -> None:
    snapshot = write_test_snapshot(tmp_path / "snapshot", [b"a text"], modality="text")

    with pytest.raises(BlocksError, match=r"snapshot is text, and small takes image\. Expected"):
        extracted(snapshot, encoder, tmp_path / "features")


def test_memory_does_not_grow_with_the_items(
    encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    """2,000 items of 200 kB are 400 MB; what is under way at once are 32 of them."""
    random = np.random.default_rng(0)
    base = jpeg(0)
    contents = (base + random.bytes(200_000) for _ in range(2000))
    snapshot = write_test_snapshot(tmp_path / "snapshot", contents, rows=50)
    gc.collect()
    process, seen = psutil.Process(), []

    def watch(done: int, total: int) -> None:
        # After the first batch all is loaded that is needed, engines included.
        if done % 100 <= CPU_BATCH_SIZE:
            seen.append(process.memory_full_info().uss)

    partial = begin_folder(tmp_path / "features", PROVENANCE)
    extraction, share = Extraction(open_snapshot(snapshot, "test"), encoder), Share(tmp_path / "w")
    write_extraction(extraction, extraction.compute(share, watch), share, partial, watch)

    assert max(seen) - seen[0] < 200e6


@pytest.fixture(scope="module")
def many(write_test_snapshot, jpeg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of 600 items, which are three parts."""
    folder = tmp_path_factory.mktemp("many") / "snapshot"
    return write_test_snapshot(folder, map(jpeg, range(600)), rows=50)


@pytest.fixture(scope="module")
def whole(many: Path, encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its features, made at once by one worker."""
    folder = tmp_path_factory.mktemp("whole") / "features"
    extracted(many, encoder, folder)
    return folder


def shards(features: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((features / "shards").iterdir())]


@pytest.mark.parametrize("workers", [2, 3, 7])
def test_features_are_the_same_bytes_for_any_number_of_workers(
    workers: int, many: Path, whole: Path, encoder: Encoder, tmp_path: Path
) -> None:
    extracted(many, encoder, tmp_path / "features", workers=workers)

    assert shards(tmp_path / "features") == shards(whole)
    made = [path.name[:6] for path in sorted((tmp_path / "features.work/cpu/parts").iterdir())]
    assert made == ["000000", "000001", "000002"]


def test_workers_read_nothing_but_their_share(many: Path, encoder: Encoder, tmp_path: Path) -> None:
    snapshot = shutil.copytree(many, tmp_path / "snapshot")
    # The sample is in the first shards, the last worker's share in the last ones.
    for shard in sorted((snapshot / "shards").iterdir())[4:7]:
        shard.write_bytes(b"")
    extraction = Extraction(open_snapshot(snapshot, "test"), encoder)
    whole_plan = Extraction(open_snapshot(many, "test"), encoder, TENSORFLOW).compute(
        Share(tmp_path / "first", 0, 3), ignore
    )
    whole_plan.write(tmp_path / "work/cpu")  # as the first worker would

    plan = extraction.compute(Share(tmp_path / "work", 2, 3), ignore)

    assert len(plan.part(2)) == 600 - 2 * plan.part_rows
    with pytest.raises(BlocksError, match=r"shards/00004.arrow"):
        extraction.compute(Share(tmp_path / "work", 0, 3), ignore)


def test_only_items_that_earlier_features_lack_are_computed(
    many: Path, whole: Path, encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    fewer = write_test_snapshot(tmp_path / "fewer", map(jpeg, range(6, 606)), rows=7)
    extracted(fewer, encoder, tmp_path / "earlier")
    seen: list[tuple[int, int]] = []
    previous = open_features(tmp_path / "earlier", "test")
    extraction = Extraction(open_snapshot(many, "test"), encoder, TENSORFLOW, previous)
    share = Share(tmp_path / "work")

    plan = extraction.compute(share, lambda *done: seen.append(done))
    partial = begin_folder(tmp_path / "features", PROVENANCE)
    write_extraction(extraction, plan, share, partial, ignore)
    finish_folder(tmp_path / "features", "features", FEATURES, PROVENANCE)

    assert seen[-1] == (6, 6)
    assert len(plan.rows) == 6
    # Six items that the snapshot no longer has are gone, too.
    assert shards(tmp_path / "features") == shards(whole)


def test_features_of_another_kind_are_computed_anew_and_that_is_told(
    many: Path, whole: Path, encoder: Encoder, tmp_path: Path
) -> None:
    previous = open_features(whole, "test")
    extraction = Extraction(
        open_snapshot(many, "test"), encoder, InferenceOptions("openvino"), previous
    )

    plan = extraction.compute(Share(tmp_path / "work"), ignore)

    assert len(plan.rows) == 600
    assert list(plan.warnings()) == [
        "earlier features are not reused: their engine was tensorflow/cpu and is openvino/cpu now"
    ]


def test_features_of_another_preparation_are_computed_anew_and_that_is_told(
    whole: Path, many: Path, encoder: Encoder
) -> None:
    previous = open_features(whole, "test")
    older = {"modality": "image", "version": 2}
    earlier = replace(previous, manifest=replace(previous.manifest, preprocessing=older))
    extraction = Extraction(
        open_snapshot(many, "test"), encoder, InferenceOptions("tensorflow"), earlier
    )
    assert extraction.reusable("tensorflow/cpu") == (None, "preparation was 1 and is 2 now")


def test_auto_stays_with_the_engine_of_earlier_features(
    many: Path, encoder: Encoder, tmp_path: Path
) -> None:
    extracted(many, encoder, tmp_path / "openvino", InferenceOptions("openvino"))
    previous = open_features(tmp_path / "openvino", "test")
    extraction = Extraction(
        open_snapshot(many, "test"), encoder, InferenceOptions("auto"), previous
    )

    plan = extraction.compute(Share(tmp_path / "work"), ignore)

    assert (plan.kind, len(plan.rows)) == ("openvino/cpu", 0)


def test_float16_halves_the_bytes_and_is_made_of_float32(
    many: Path, whole: Path, encoder: Encoder, tmp_path: Path
) -> None:
    exact = extracted(many, encoder, tmp_path / "exact")
    half = extracted(
        many, encoder, tmp_path / "half", InferenceOptions("tensorflow", dtype="float16")
    )
    reused = extracted(
        many, encoder, tmp_path / "reused", InferenceOptions("tensorflow", dtype="float16"), whole
    )

    assert half.schema.field("vector").type == pa.list_(pa.float16(), 24)
    expected = np.array(exact["vector"].to_pylist()).astype(np.float16)
    assert (np.array(half["vector"].to_pylist(), np.float16) == expected).all()
    assert reused == half
    features, targets, _ = open_features(tmp_path / "half", "test").split("train")
    assert (features.shape, len(targets)) == ((600, 24), 600)


def test_a_feature_too_large_for_float16_is_named(
    encoder: Encoder, write_test_snapshot, jpeg, tmp_path: Path
) -> None:
    snapshot = write_test_snapshot(tmp_path / "snapshot", map(jpeg, range(10)))
    large = replace(
        encoder, loaded=replace(encoder.loaded, call=lambda x: tf.fill([tf.shape(x)[0], 24], 1e5))
    )
    with pytest.raises(BlocksError, match="the encoder returns float16 features that are NaN or "):
        extracted(
            snapshot, large, tmp_path / "features", InferenceOptions("tensorflow", dtype="float16")
        )


def test_a_part_that_is_there_is_not_computed_again_unless_it_is_damaged(
    many: Path, whole: Path, encoder: Encoder, tmp_path: Path
) -> None:
    extraction, share = (
        Extraction(open_snapshot(many, "test"), encoder, TENSORFLOW),
        Share(tmp_path / "work"),
    )
    extraction.compute(share, ignore)
    first, second, third = sorted((tmp_path / "work/cpu/parts").iterdir())
    kept, cut = first.stat().st_mtime_ns, third.read_bytes()
    second.unlink()
    third.write_bytes(cut[:-100])

    plan = extraction.compute(share, ignore)
    partial = begin_folder(tmp_path / "features", PROVENANCE)
    write_extraction(extraction, plan, share, partial, ignore)

    again = sorted((tmp_path / "work/cpu/parts").iterdir())
    # What is computed again has the same bytes, and a name that no node has seen.
    assert [it.name[:72] for it in again] == [it.name[:72] for it in (first, second, third)]
    assert [it.name == old.name for it, old in zip(again, (first, second, third), strict=True)] == [
        True,
        False,
        False,
    ]
    assert first.stat().st_mtime_ns == kept
    assert again[2].read_bytes() == cut
    assert [path.read_bytes() for path in sorted((partial / "shards").iterdir())] == shards(whole)


def test_earlier_features_of_another_encoder_are_refused(
    many: Path, whole: Path, encoder: Encoder, tmp_path: Path
) -> None:
    other = replace(encoder, pin=replace(encoder.pin, digest="f" * 64))
    with pytest.raises(BlocksError, match=r"the encoder with digest .* Pass the encoder"):
        extracted(many, other, tmp_path / "features", previous=whole)


def test_an_item_that_is_twice_in_earlier_features_is_named(
    many: Path, whole: Path, encoder: Encoder, tmp_path: Path
) -> None:
    twice = shutil.copytree(whole, tmp_path / "twice")
    for name in (STATEMENT_NAME, "manifest.json"):
        (twice / name).unlink()
    manifest = open_features(whole, "test").manifest
    table = pa.Table.from_batches(open_features(whole, "test").batches())
    doubled = pa.concat_tables([table.slice(0, 10), table.slice(9)]).combine_chunks()
    with pa.ipc.new_file(str(twice / "shards/00000.arrow"), table.schema) as writer:
        writer.write_table(doubled)
    replace(manifest, items=601).write(twice)
    Lineage("features", str(FEATURES), files_sha256(twice), PROVENANCE).write(twice)

    with pytest.raises(
        BlocksError, match=r"the item occurs twice\. Expected each item once"
    ) as caught:
        extracted(many, encoder, tmp_path / "features", previous=twice)

    assert table["id"][9].as_py() in str(caught.value)


def test_fewer_bits_are_said_to_cost_what_a_head_loses_by_them(
    many: Path, whole: Path, encoder: Encoder, tmp_path: Path
) -> None:
    options = InferenceOptions("tensorflow", precision="bfloat16")
    previous = open_features(whole, "test")
    extraction = Extraction(open_snapshot(many, "test"), encoder, options, previous)
    plan = extraction.compute(Share(tmp_path / "work"), ignore)

    probe = plan.report["probe"]
    assert list(probe) == ["float32", "bfloat16"]
    assert all(each["low"] < each["value"] < each["high"] for each in probe.values())
    assert plan.report["parity"]["items"] == 256
    told = "\n".join(plan.told())
    assert re.search(
        r"leave-one-out accuracy of a head on bfloat16: 0\.\d+ \[0\.\d+, 0\.\d+\]", told
    )
    # Features of two precisions do not mix.
    assert len(plan.rows) == 600
    assert "their precision was float32 and is bfloat16 now" in "".join(plan.warnings())
