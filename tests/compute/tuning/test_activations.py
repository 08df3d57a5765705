"""What is cached is what the lower part gives, and is streamed in another order each epoch."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tfhub_blocks.compute.cutting.encoder_cuts import Cut, CutEncoder
from tfhub_blocks.compute.extraction import extraction
from tfhub_blocks.compute.inference import parts
from tfhub_blocks.compute.inference.engine_selection import select_engine
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.compute.tuning import caching
from tfhub_blocks.compute.tuning.activations import open_activations
from tfhub_blocks.compute.tuning.caching import Examples
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.snapshots import Snapshot, open_snapshot


def rows_of(snapshot: Snapshot, split: str) -> list[dict]:
    return [r for b in snapshot.batches() for r in b.to_pylist() if r["split"] == split]


def test_each_item_of_two_splits_has_what_the_lower_part_gives_for_it(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, data: Examples
) -> None:
    for split, items in (("train", data.train), ("validation", data.validation)):
        rows = rows_of(snapshot, split)
        assert items.ids == tuple(row["id"] for row in rows)
        labels = [snapshot.manifest.labels[target] for target in items.targets]
        assert labels == [row["label"] for row in rows]
        prepared = tunable.encoder.prepare([row["content"] for row in rows])
        expected = tunable.lower(cut)(tf.constant(prepared)).numpy()
        given = np.concatenate([batch for batch, _ in items.in_order(7)])
        np.testing.assert_allclose(given, expected, atol=1e-5)


def test_half_precision_takes_half_of_the_disk_and_comes_back_as_float32(
    snapshot: Snapshot,
    tunable: CutEncoder,
    cut: Cut,
    data: Examples,
    cached: Path,
    cache_of,
    tmp_path: Path,
) -> None:
    cache = cache_of(snapshot, tunable, cut, tmp_path / "half", dtype="float16")
    halved = cache.examples(0, None, lambda *_: None)
    sizes = [
        sum(path.stat().st_size for path in folder.rglob("*.arrow"))
        for folder in (tmp_path / "half", cached)
    ]
    assert 0.45 < sizes[0] / sizes[1] < 0.55
    (given, _), (expected, _) = (next(d.train.in_order(99)) for d in (halved, data))
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-6)


def test_what_is_finished_is_used_again_and_anything_else_is_made_anew(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, cache_of, tmp_path: Path
) -> None:
    folder, done = tmp_path / "activations", []

    def again(place: Cut) -> int:
        done.clear()
        progress = lambda n, _: done.append(n)  # noqa: E731
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.arrow")}
        made = cache_of(snapshot, tunable, place, folder).examples(0, None, progress)
        assert made.train.shape == place.shape
        after = {path: path.stat().st_mtime_ns for path in folder.rglob("*.arrow")}
        return len(after.items() - before.items())

    assert again(cut) > 0
    assert again(cut) == 0
    assert again(tunable.cuts[0]) > 0
    assert again(tunable.cuts[0]) == 0
    for part in folder.rglob("*.arrow"):
        part.write_bytes(part.read_bytes()[:-10])
    assert again(tunable.cuts[0]) > 0


def test_one_engine_computes_all_views_whichever_is_faster_at_the_moment(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, cache_of, tmp_path: Path, monkeypatch
) -> None:
    asked = []

    def select(engine: str, *rest: object) -> object:
        asked.append(engine)
        return select_engine(engine, *rest)

    monkeypatch.setattr(extraction, "select_engine", select)
    cache = cache_of(snapshot, tunable, cut, tmp_path / "a", least_to_compare=0)

    cache.examples(2, None, lambda *_: None)

    assert asked[0] == "auto"
    assert asked[1] in ("tensorflow", "openvino")
    assert asked[1:] == [asked[1]] * 2


def test_each_epoch_has_each_item_once_in_an_order_of_its_own(data: Examples) -> None:
    items = data.train
    numbers = {rows.tobytes(): n for n, (rows, _) in enumerate(items.in_order(1))}
    assert len(numbers) == len(items)

    def order(seed: tuple[int, int], window_bytes: int = 2**27) -> list[int]:
        batches = list(items.shuffled(16, seed, window_bytes))
        assert {len(rows) for rows, _ in batches} == {16}
        found = [numbers[row[None].tobytes()] for rows, _ in batches for row in rows]
        assert [items.targets[n] for n in found] == [t for _, ts in batches for t in ts]
        return found

    first = order((0, 0))
    assert len(set(first)) == len(first) == len(items) // 16 * 16
    assert first == order((0, 0))
    assert first != order((0, 1))
    assert first != order((1, 0))
    assert np.corrcoef(first, range(len(first)))[0, 1] < 0.3


def test_items_mix_across_chunks_and_windows(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, cache_of, tmp_path: Path, monkeypatch
) -> None:
    # Chunks of eight items, windows of four chunks.
    monkeypatch.setattr(parts, "BATCH_BYTES", 2**15)
    cache = cache_of(snapshot, tunable, cut, tmp_path / "small")
    made = cache.examples(0, None, lambda *_: None).train
    assert len(made.chunks) > 12
    numbers = {rows.tobytes(): n for n, (rows, _) in enumerate(made.in_order(1))}
    batches = list(made.shuffled(16, (0, 0), 2**17))
    found = [[numbers[row[None].tobytes()] for row in rows] for rows, _ in batches]
    assert len({n for batch in found for n in batch}) == len(made) // 16 * 16
    assert max(len({n // 8 for n in batch}) for batch in found) > 2


def test_memory_holds_windows_and_not_the_items(tmp_path: Path) -> None:
    """200 MB of activations through windows of 8 MB."""
    size, per_chunk = 2**13, 64

    def batches() -> Iterator[tuple[list[str], np.ndarray]]:
        for start in range(0, 12_800, per_chunk):
            ids = [str(start + n) for n in range(per_chunk)]
            yield ids, np.full((per_chunk, size), start % 100, np.float16)

    made = parts.Parts(tmp_path / "parts", size, "float16")
    made.write(0, batches())
    process, most = psutil.Process(), 0
    before = process.memory_info().rss
    rows = np.zeros(12_800, np.int64)
    items = open_activations([made.find(0)], (size,), "float16", rows, rows == 0)
    for _ in items.shuffled(32, (0, 0), 8 * 2**20):
        most = max(most, process.memory_info().rss)
    assert len(items) == 12_800
    assert most - before < 80e6
    shutil.rmtree(tmp_path)


def test_too_small_a_disk_is_told_before_anything_is_computed(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, cache_of, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1000))
    with pytest.raises(BlocksError, match=r"this cut need 0.00 GB of disk, and 0.00 GB are free"):
        cache_of(snapshot, tunable, cut, tmp_path / "a").examples(0, None, print)


def test_what_is_kept_of_another_cut_makes_no_room_for_this_one(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, cache_of, tmp_path: Path, monkeypatch
) -> None:
    cache_of(snapshot, tunable, tunable.cuts[0], tmp_path).examples(0, None, lambda *_: None)
    cache = cache_of(snapshot, tunable, cut, tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 8, 1000))
    with pytest.raises(BlocksError, match="a larger disk"):
        cache.examples(0, None, lambda *_: None)


def test_an_activation_that_does_not_fit_half_precision_is_told(
    snapshot: Snapshot, tunable: CutEncoder, cut: Cut, cache_of, tmp_path: Path, monkeypatch
) -> None:

    def large(flat: object, tensor: str, spec: tf.TensorSpec) -> object:
        call = tf.function(lambda x: tf.fill([8, *cut.shape], 1e5 + 0 * tf.reduce_sum(x)))
        return call.get_concrete_function(spec)

    monkeypatch.setattr(caching, "lower_function", large)
    with pytest.raises(BlocksError, match="returns float16 features that are NaN or infinite"):
        cache_of(snapshot, tunable, cut, tmp_path / "a", dtype="float16").examples(0, None, print)
    assert not list((tmp_path / "a").rglob("*.arrow"))


def test_another_modality_is_refused(
    write_test_snapshot, tunable: CutEncoder, cut: Cut, cache_of, tmp_path: Path
) -> None:
    texts = open_snapshot(write_test_snapshot(tmp_path / "s", [b"a"], modality="text"), "test")
    with pytest.raises(BlocksError, match=r"is text, and saved_model takes image\. Expected the"):
        cache_of(texts, tunable, cut, tmp_path / "a").examples(0, None, print)
