"""score_batch, run as Azure would."""

import json
import re
import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from toy_project import wait_for

from tfhub_blocks.records.base.lineage import read_lineage
from tfhub_blocks.records.formats.predictions import open_predictions

KILLS = 20
SCHEMA = ["path", "id", "label", "probability", "probabilities", "error", "model_version"]


@pytest.fixture(scope="session")
def loose_folder(coloured_snapshot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty images without labels in two folders, one of them twice, and three that are none."""
    source, folder = coloured_snapshot.parent / "source", tmp_path_factory.mktemp("loose")
    for number in range(40):
        place = folder / f"day{number % 2}/{number:02d}.png"
        place.parent.mkdir(exist_ok=True)
        shutil.copy(source / ("red", "green", "blue")[number % 3] / f"{number}.png", place)
    shutil.copy(folder / "day0/00.png", folder / "day1/again.png")
    (folder / "day0/cut.png").write_bytes((folder / "day0/00.png").read_bytes()[:200])
    (folder / "day0/empty.png").touch()
    (folder / "notes.txt").write_text("no image")
    return folder


def rows_of(folder: Path) -> list[dict]:
    opened = open_predictions(folder, "test")
    return [row for batch in opened.batches() for row in batch.to_pylist()]


def test_a_folder_without_labels_is_scored_and_what_cannot_be_read_is_told_in_its_row(
    colours_model: Path, loose_folder: Path, execute_step, tmp_path: Path
) -> None:
    import mlflow

    inputs = {"data": loose_folder, "model": colours_model, "max_unreadable_fraction": 0.1}

    done = execute_step("score_batch", inputs, {"predictions": tmp_path / "predictions"})

    assert done.returncode == 0, done.stderr
    rows = rows_of(tmp_path / "predictions")
    assert [row["path"] for row in rows] == sorted(
        str(path.relative_to(loose_folder)) for path in loose_folder.rglob("*.*")
    )
    assert list(rows[0]) == SCHEMA
    errors = {row["path"]: row["error"] for row in rows if row["error"]}
    assert errors == {
        "day0/cut.png": "the image is truncated",
        "day0/empty.png": "the item is empty",
        "notes.txt": "the file is not an image",
    }
    assert "44 rows, 40 contents scored, 3 unreadable: " in done.stdout
    assert "unreadable: day0/cut.png: the image is truncated\n" in done.stdout
    lineage = read_lineage(tmp_path / "predictions")
    digest = read_lineage(colours_model).digest
    assert {row["model_version"] for row in rows} == {digest}
    assert lineage.material("model").digest == digest
    assert lineage.provenance.facts["scored"] == 40
    # The answers are those of the model as it is served.
    read = [row for row in rows if not row["error"]]
    served = mlflow.pyfunc.load_model(str(colours_model)).unwrap_python_model()
    contents = [[(loose_folder / row["path"]).read_bytes()] for row in read]
    answers = served.predict(None, np.array(contents, object))
    assert [row["label"] for row in read] == answers["label"].tolist()
    given = np.array([row["probabilities"] for row in read])
    np.testing.assert_allclose(given, np.stack(answers["probabilities"]), rtol=0, atol=1e-5)
    summary = json.loads((tmp_path / "predictions/summary.json").read_text())
    assert (summary["rows"], summary["unreadable"], sum(summary["labels"].values())) == (44, 3, 41)


def test_an_encoder_scores_and_is_known_by_its_digest(
    imported_encoder: Path, loose_folder: Path, execute_step, tmp_path: Path
) -> None:
    inputs = {"data": loose_folder, "encoder": imported_encoder}
    inputs |= {"max_unreadable_fraction": 0.1, "top_k": 2}

    done = execute_step("score_batch", inputs, {"predictions": tmp_path / "predictions"})

    assert done.returncode == 0, done.stderr
    assert "44 rows, 40 contents scored, 3 unreadable: " in done.stdout
    lineage = read_lineage(tmp_path / "predictions")
    digest = read_lineage(imported_encoder).digest
    assert lineage.material("encoder").digest == digest
    assert lineage.provenance.facts["model_digest"] == digest
    rows = rows_of(tmp_path / "predictions")
    assert {row["model_version"] for row in rows} == {digest}
    assert [row["path"] for row in rows if row["error"]] == [
        "day0/cut.png",
        "day0/empty.png",
        "notes.txt",
    ]


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param("unreadable", marks=pytest.mark.slow),
        pytest.param("texts", marks=pytest.mark.slow),
        "no data",
        pytest.param("no answers", marks=pytest.mark.slow),
        "two models",
    ],
)
def test_mistake_ends_a_step_with_one_line_and_no_output(
    mistake: str,
    colours_model: Path,
    loose_folder: Path,
    coloured_snapshot: Path,
    execute_step,
    golden,
    tmp_path: Path,
) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "rows.csv").write_text("words\nhello\n")
    inputs = {
        "unreadable": {"data": loose_folder},
        "texts": {"data": texts},
        "no data": {"data": colours_model},
        "no answers": {"data": coloured_snapshot, "top_k": 0},
        "two models": {"data": loose_folder, "encoder": colours_model},
    }[mistake]
    output = tmp_path / "output"

    done = execute_step("score_batch", {**inputs, "model": colours_model}, {"predictions": output})

    assert done.returncode == 1, done.stdout
    assert not (output / "lineage.json").exists()
    told = done.stderr.replace(str(colours_model), "MODEL")
    golden(f"score_batch_{mistake.replace(' ', '_')}", told)


def has_parts(process, folder, count):
    """Whether so many parts are there, or nothing more comes."""
    return process.poll() is not None or len(list(folder.rglob("*.arrow"))) >= count


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_killed_at_random_moments_ends_as_an_undisturbed_one(
    colours_model: Path, start_step, execute_step, tmp_path: Path
) -> None:
    random = np.random.default_rng(20)
    data = tmp_path / "data"
    data.mkdir()
    for number in range(500 * KILLS):
        pixels = random.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(data / f"{number:05d}.png", compress_level=1)
    inputs = {"data": data, "model": colours_model, "engine": "tensorflow"}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    for _ in range(KILLS):
        process = start_step("score_batch", inputs, {"predictions": killed})
        finished = len(list(killed.rglob("*.arrow")))
        # Sometimes before anything is done, sometimes just after a part, or in the middle of one.
        more, wait_s = int(random.integers(0, 3)), float(random.uniform(0, 0.3))
        wait_for(partial(has_parts, process, killed, finished + more), 240, 0.005)
        time.sleep(wait_s)
        process.kill()
        process.communicate()

    done = execute_step("score_batch", inputs, {"predictions": killed})

    assert done.returncode == 0, done.stderr
    assert re.search(r"resuming after \d+ finished parts", done.stdout)
    undisturbed = execute_step("score_batch", inputs, {"predictions": whole})
    assert undisturbed.returncode == 0, undisturbed.stderr
    paths = [row["path"] for row in rows_of(killed)]
    assert paths == [f"{number:05d}.png" for number in range(500 * KILLS)]
    assert read_lineage(killed).files == read_lineage(whole).files
    assert not (killed / ".work").exists()
