"""Predictions of folders, tables and snapshots, alone and shared, from nothing and from earlier."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.inference.shared_work import InferenceOptions, Share
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.compute.models.served_model import load_served
from tfhub_blocks.compute.predictions.batch_scoring import Scoring
from tfhub_blocks.compute.predictions.prediction_columns import EarlierAnswers, answer_table
from tfhub_blocks.compute.predictions.prediction_output import Summary, write_predictions
from tfhub_blocks.compute.predictions.scorers import (
    BatchScorer,
    EngineScorer,
    of_model,
    open_scorer,
)
from tfhub_blocks.compute.predictions.scoring_rows import open_places
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.predictions import (
    FORMAT,
    PredictionManifest,
    PredictionWriter,
    open_predictions,
    predictions_schema,
)

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
LIMITS = Limits(1_000_000, 60.0)


@pytest.fixture(scope="module")
def model(colours_model: Path) -> EngineScorer:
    return of_model(load_served(colours_model, "test"))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 images of 12 px, of which every hundredth is that before it."""
    folder, random = tmp_path_factory.mktemp("images"), np.random.default_rng(1)
    for number in range(600):
        if number % 100:
            pixels = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels if number else pixels_of(0)).save(folder / f"{number:03d}.png")
    return folder


def pixels_of(seed: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)


@pytest.fixture
def score(
    model: EngineScorer, tmp_path: Path
) -> Callable[..., tuple[Path, PredictionManifest, Summary]]:
    """``score(data, name, workers=1, **scoring)`` scores as one process after the other does."""

    def run(
        data: Path, name: str, workers: int = 1, by: BatchScorer = model, **more: Any
    ) -> tuple[Path, PredictionManifest, Summary]:
        more.setdefault("options", InferenceOptions("tensorflow"))
        work = tmp_path / f"{name}.work"
        for index in range(workers):
            # A worker opens the data itself.
            places = open_places(data, by.modality, LIMITS)
            scoring = Scoring(by, places, by.digest, **more)
            plan = scoring.compute(Share(work, index, workers), lambda *_: None)
        partial = begin_folder(tmp_path / name, PROVENANCE)
        share = Share(work, 0, workers)
        manifest, summary = write_predictions(scoring, plan, share, partial, lambda *_: None)
        finish_folder(tmp_path / name, "predictions", FORMAT, PROVENANCE)
        return tmp_path / name, manifest, summary

    return run


def rows_of(folder: Path) -> list[dict[str, Any]]:
    batches = open_predictions(folder, "test").batches()
    return [row for batch in batches for row in batch.to_pylist()]


def test_workers_share_and_give_the_same_files(images: Path, score) -> None:
    alone, manifest, summary = score(images, "alone")
    shared, _, _ = score(images, "shared", workers=2)

    assert open_predictions(alone, "test").folder.digest == (
        open_predictions(shared, "test").folder.digest
    )
    rows = rows_of(alone)
    assert [row["path"] for row in rows] == [f"{number:03d}.png" for number in range(600)]
    assert (manifest.rows, manifest.scored, summary.unreadable) == (600, 595, 0)
    # The same content has one answer, wherever it is.
    by_content: dict[str, set[tuple[float, ...]]] = {}
    for row in rows:
        by_content.setdefault(row["id"], set()).add(tuple(row["probabilities"]))
    assert {len(answers) for answers in by_content.values()} == {1}


def test_only_what_is_new_is_scored_and_the_outcome_is_that_of_all(
    images: Path, score, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in sorted(images.iterdir())[:400]:
        shutil.copy(path, data / path.name)
    (data / "zero.png").touch()
    first, _, _ = score(data, "first")
    for path in sorted(images.iterdir())[400:]:
        # Among those that are there already, so that no row is where it was.
        shutil.copy(path, data / f"0{path.name}")

    earlier = open_predictions(first, "test")
    grown, manifest, _ = score(data, "grown", previous=earlier)

    assert (manifest.rows, manifest.scored, manifest.unreadable) == (601, 198, 1)
    whole, _, _ = score(data, "whole")
    assert rows_of(grown) == rows_of(whole)
    other, manifest, _ = score(data, "other", previous=earlier, top_k=2)
    assert manifest.scored >= 595
    assert set(rows_of(other)[5]) >= {"top_labels", "top_probabilities"}


def test_a_part_of_contents_that_changed_is_scored_anew(
    images: Path, score, model: EngineScorer, tmp_path: Path
) -> None:
    data = shutil.copytree(images, tmp_path / "data")
    score(data, "before")
    Image.fromarray(pixels_of(99)).save(data / "100.png")
    Image.fromarray(pixels_of(98)).save(data / "599.png")
    (tmp_path / "before.work").rename(tmp_path / "after.work")
    kept = {path.name for path in (tmp_path / "after.work").rglob("*.arrow")}

    after, _, _ = score(data, "after")

    now = {path.name for path in (tmp_path / "after.work").rglob("*.arrow")}
    assert len(kept) == len(now) == 3
    assert len(kept & now) == 1
    assert rows_of(after) == rows_of(score(data, "anew")[0])


def test_a_table_of_paths_has_a_row_for_each_of_its_rows(
    images: Path, score, model: EngineScorer, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("010.png", "011.png"):
        shutil.copy(images / name, data / name)
    (data / "rows.csv").write_text("path,note\n011.png,x\ngone.png,\n010.png,\n011.png,again\n,\n")

    folder, _, summary = score(data, "rows", max_unreadable=0.5)

    rows = rows_of(folder)
    assert [(row["path"], row["error"]) for row in rows] == [
        ("011.png", None),
        ("gone.png", "the file does not exist"),
        ("010.png", None),
        ("011.png", None),
        ("rows.csv:5", "the row has no path"),
    ]
    assert rows[0] == rows[3]
    assert rows[1]["id"] is None
    assert summary.first_errors == [
        "gone.png: the file does not exist",
        "rows.csv:5: the row has no path",
    ]
    (data / "rows.csv").write_text("path\n../images/010.png\n")
    with pytest.raises(BlocksError, match=r"score_batch > data\] rows\.csv:1 .* leaves"):
        open_places(data, model.modality, LIMITS)


def test_a_snapshot_has_a_row_for_each_place_where_an_item_was_found(
    coloured_snapshot: Path, score
) -> None:
    folder, manifest, _ = score(coloured_snapshot, "snapshot")

    sources = pq.read_table(coloured_snapshot / "sources.parquet").to_pylist()
    assert [(row["id"], row["path"]) for row in rows_of(folder)] == [
        (row["id"], row["path"]) for row in sources
    ]
    assert manifest.scored == len({row["id"] for row in sources}) == 240
    right = [row["label"] == row["path"].partition("/")[0] for row in rows_of(folder)]
    assert np.mean(right) > 0.6


def test_too_much_that_is_unreadable_ends_it_early_and_names_it(
    images: Path, score, tmp_path: Path
) -> None:
    data = shutil.copytree(images, tmp_path / "data")
    for number in range(7):
        (data / f"00{number}.png").write_bytes(b"nothing")
    with pytest.raises(
        BlocksError, match=r"7 of 600 items cannot be scored, such as 000\.png: the"
    ):
        score(data, "data")
    # The second and third part were not begun.
    assert len(list((tmp_path / "data.work").rglob("*.arrow"))) == 1
    for path in data.iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(BlocksError, match="none of the 600 items can be decoded"):
        score(data, "data", max_unreadable=1.0)


def test_an_image_of_too_many_pixels_is_not_decoded(
    images: Path, score, model: EngineScorer, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(images / "001.png", data / "1.png")
    Image.new("1", (30_000, 30_000)).save(data / "bomb.png")
    before = psutil.Process().memory_info().rss

    folder, _, _ = score(data, "scored", max_unreadable=0.5)

    assert psutil.Process().memory_info().rss - before < 500e6
    told = "the image has 30000 x 30000 pixels, more than 1000000 pixels"
    assert [row["error"] for row in rows_of(folder)] == [None, told]


def test_files_that_come_while_it_scores_end_it(
    images: Path, model: EngineScorer, tmp_path: Path
) -> None:
    data = shutil.copytree(images, tmp_path / "data")
    places = open_places(data, model.modality, LIMITS)
    shutil.copy(data / "500.png", data / "500b.png")
    rows = places.read([range(550, 600)], lambda _: True)
    with pytest.raises(BlocksError, match="item 502 has changed since the step began"):
        list(rows)


def test_somebodys_pyfunc_scores_what_it_can_and_says_why_not_in_the_row(
    images: Path, brightness_model: Path, score, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for path in sorted(images.iterdir())[:70]:
        shutil.copy(path, data)
    (data / "000.png").write_bytes(b"nothing")
    Image.new("L", (2, 2), 255).save(data / "white.png")
    by = open_scorer(brightness_model, None, True)

    folder, manifest, _ = score(
        data, "first", by=by, options=InferenceOptions(), max_unreadable=0.5
    )

    rows = rows_of(folder)
    assert [row["path"] for row in rows] == sorted(path.name for path in data.iterdir())
    assert manifest.labels == ("dark", "bright")
    assert (manifest.engine, manifest.unreadable, manifest.model_digest) == ("own", 2, by.digest)
    errors = [row["error"] for row in rows]
    # What differs from run to run, such as where an object lies in memory, is left out.
    told = "UnidentifiedImageError: cannot identify image file <_io.BytesIO object>"
    assert errors[0] == f"the model fails for this item ({told})"
    assert "NaN" in errors[-1]
    for row in rows[1:-1]:
        pixels = np.asarray(Image.open(data / row["path"]).convert("L"))
        bright = pixels.mean() / 255
        assert row["probabilities"] == pytest.approx([1 - bright, bright], abs=1e-6)
        assert row["label"] == ("bright" if bright > 0.5 else "dark")
    shutil.copy(images / "350.png", data)
    _, manifest, _ = score(
        data,
        "second",
        by=open_scorer(brightness_model, None, True),
        options=InferenceOptions(),
        max_unreadable=0.5,
        previous=open_predictions(folder, "test"),
        workers=2,
    )
    assert (manifest.rows, manifest.scored, manifest.unreadable) == (72, 1, 2)


def test_somebodys_pyfunc_is_another_where_a_byte_differs_and_takes_no_engine(
    images: Path, brightness_model: Path, score, tmp_path: Path
) -> None:
    changed = shutil.copytree(brightness_model, tmp_path / "changed")
    (changed / "note.txt").write_text("mine")
    by = open_scorer(changed, None, True)
    assert by.digest != open_scorer(brightness_model, None, True).digest
    with pytest.raises(BlocksError, match=r"engine\] engine is openvino, but no engine can"):
        score(images, "engine", by=by, options=InferenceOptions("openvino"))
    (changed / "MLmodel").write_text("flavors: {}")
    with pytest.raises(BlocksError, match="MLflow cannot load the model"):
        open_scorer(changed, None, True)


def test_an_encoder_scores_with_what_it_gives_by_its_numbers(
    images: Path, imported_encoder: Path, score, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number in range(5):
        shutil.copy(images / f"00{number}.png", data)
    loaded = load_encoder(imported_encoder, "test")
    labels = tuple(map(str, range(loaded.dimension)))
    by = EngineScorer(loaded, labels, "the encoder")

    folder, manifest, _ = score(data, "scored", by=by, top_k=3)

    given = loaded.encode([path.read_bytes() for path in sorted(data.iterdir())])
    rows = rows_of(folder)
    best = [[str(n) for n in np.argsort(-each, kind="stable")[:3]] for each in given]
    assert [row["top_labels"] for row in rows] == best
    np.testing.assert_allclose([row["probability"] for row in rows], given.max(axis=1), rtol=1e-4)
    assert manifest.model_digest == "the encoder"


@pytest.mark.parametrize("top_k", [None, 2, 9])
def test_answers_are_the_largest_probabilities_and_the_first_of_equal_ones(top_k) -> None:
    given = np.array([[0.2, 0.2, 0.6], [0.5, 0.5, 0.0]], np.float32)

    rows = answer_table(given, ["a", "b", "c"], top_k).to_pylist()

    assert [row["label"] for row in rows] == ["c", "a"]
    if top_k is None:
        assert [row["probabilities"] for row in rows] == given.tolist()
    else:
        assert [row["top_labels"] for row in rows] == [
            ["c", "a", "b"][:top_k],
            ["a", "b", "c"][:top_k],
        ]
        assert rows[0]["top_probabilities"] == pytest.approx([0.6, 0.2, 0.2][:top_k])


def test_earlier_answers_are_found_in_any_order_and_over_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfhub_blocks.records.formats.predictions.GROUP_ROWS", 3)
    monkeypatch.setattr("tfhub_blocks.records.formats.predictions.SHARD_BYTES", 1)
    partial = begin_folder(tmp_path / "earlier", PROVENANCE)
    ids = [f"{number * 7 % 10:064x}" for number in range(10)]
    given = np.arange(20, dtype=np.float32).reshape(10, 2)
    schema = predictions_schema(None)
    with PredictionWriter(partial, schema, {"labels": ["a", "b"]}) as writer:
        for number, item in enumerate(ids):
            answer = answer_table(given[number : number + 1], ["a", "b"], None).columns
            if number == 4:
                answer = [pa.nulls(1, column.type) for column in answer]
            columns = [pa.array(["p"]), pa.array([item]), *answer, pa.nulls(1, pa.string())]
            writer.write(pa.table([*columns, pa.array(["m"])], schema=schema))
    labels = ("a", "b")
    names = tuple(writer.names)
    assert len(names) == 4
    made = PredictionManifest(
        10, 10, 1, labels, None, "", "m", "image", "tensorflow/cpu", "float32", names
    )
    made.write(partial)
    finish_folder(tmp_path / "earlier", "predictions", FORMAT, PROVENANCE)

    earlier = EarlierAnswers(open_predictions(tmp_path / "earlier", "test"), None)

    assert ids[4] not in earlier
    assert "f" * 64 not in earlier
    wanted = [ids[9], ids[0], ids[5]]
    assert all(item in earlier for item in wanted)
    assert [row["probabilities"] for row in earlier.take(wanted).to_pylist()] == (
        given[[9, 0, 5]].tolist()
    )


MEASURE = """
import sys
from pathlib import Path
from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.inference.shared_work import InferenceOptions, Share
from tfhub_blocks.compute.modalities.modality import Limits
from tfhub_blocks.compute.predictions.prediction_output import write_predictions
from tfhub_blocks.compute.predictions.scoring_rows import open_places
from tfhub_blocks.compute.predictions.scorers import of_model
from tfhub_blocks.compute.predictions.batch_scoring import Scoring
from tfhub_blocks.compute.models.served_model import load_served
model, data, out = map(Path, sys.argv[1:])
scorer = of_model(load_served(model, "test"))
places = open_places(data, scorer.modality, Limits(1_000_000, 60.0))
scoring = Scoring(scorer, places, scorer.digest, options=InferenceOptions("tensorflow"))
share = Share(out / "work", 0, 1)
plan = scoring.compute(share, lambda *_: None)
manifest, _ = write_predictions(scoring, plan, share, out, lambda *_: None)
# Not ru_maxrss, which begins at what the process that started this one had.
status = Path("/proc/self/status").read_text()
print(manifest.scored, int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_hold_the_contents(colours_model: Path, tmp_path: Path) -> None:
    def scored_in_a_process(count: int) -> int:
        """The process's peak memory in MiB."""
        data, out = tmp_path / f"data-{count}", tmp_path / f"out-{count}"
        data.mkdir()
        out.mkdir()
        random = np.random.default_rng(count)
        for number in range(count):
            pixels = random.integers(0, 256, (256, 256, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(data / f"{number}.bmp")
        command = [sys.executable, "-c", MEASURE, *map(str, (colours_model, data, out))]
        run = subprocess.run(command, check=True, capture_output=True, text=True)
        scored, peak_mib = map(int, run.stdout.splitlines()[-1].split())
        assert scored == count
        return peak_mib

    # 3,000 more weigh 563 MiB.
    assert scored_in_a_process(4_000) - scored_in_a_process(1_000) < 100


@pytest.mark.parametrize("engine", ENGINES)
def test_features_are_kept_from_the_same_forward_pass(
    engine, colours_model: Path, imported_encoder: Path, model: EngineScorer, images: Path, score
) -> None:
    keeping = of_model(load_served(colours_model, "test"), keep_features=True)
    options = InferenceOptions(engine)
    plain, _, _ = score(images, "plain", options=options)
    kept, manifest, _ = score(images, "kept", by=keeping, options=options)
    best, _, _ = score(images, "best", by=keeping, options=options, top_k=2)

    encoder = load_encoder(imported_encoder, "test")
    assert manifest.dimension == encoder.dimension
    rows, others, chosen = (
        [row for batch in open_predictions(folder, "test").batches() for row in batch.to_pylist()]
        for folder in (kept, plain, best)
    )
    contents = [(images / row["path"]).read_bytes() for row in rows[:16]]
    expected = np.asarray(encoder.encode(contents))
    found = np.array([row.pop("vector") for row in rows])
    np.testing.assert_allclose(found[:16], expected, rtol=2e-3, atol=1e-3)
    for row, other, each in zip(rows, others, chosen, strict=True):
        np.testing.assert_allclose(row["probabilities"], other["probabilities"], atol=1e-5)
        assert (row["path"], row["id"], row["label"]) == (other["path"], other["id"], each["label"])
        assert each["probabilities"] == row["probabilities"]
        assert each["top_probabilities"][0] == row["probability"]


def test_predictions_with_features_are_reused_where_they_are_needed(
    colours_model: Path, model: EngineScorer, images: Path, score
) -> None:
    keeping = of_model(load_served(colours_model, "test"), keep_features=True)
    plain, _, _ = score(images, "plain")
    kept, first, _ = score(images, "kept", by=keeping, previous=open_predictions(plain, "test"))
    assert first.scored > 0, "predictions without features cannot give features"
    again, second, _ = score(images, "again", by=keeping, previous=open_predictions(kept, "test"))
    assert (second.scored, second.dimension) == (0, first.dimension)
    _, bare, _ = score(images, "bare", previous=open_predictions(kept, "test"))
    assert (bare.scored, bare.dimension) == (0, 0)
    assert [path.read_bytes() for path in sorted((again / "shards").iterdir())] == [
        path.read_bytes() for path in sorted((kept / "shards").iterdir())
    ]


def test_features_of_anything_but_a_model_are_refused(
    imported_encoder: Path, brightness_model: Path
) -> None:
    for paths in ((None, imported_encoder), (brightness_model, None)):
        with pytest.raises(BlocksError, match="only a model of tfhub-blocks has features"):
            open_scorer(*paths, trust_code=True, keep_features=True)


def test_a_feature_too_large_for_float16_is_refused() -> None:
    with pytest.raises(BlocksError, match="a feature of 1e\\+05 is too large for float16"):
        answer_table(np.array([[1e5, 0.4, 0.6]], np.float32), ("a", "b"), None, True)
