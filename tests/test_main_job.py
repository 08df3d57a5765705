"""The main job through the command line: images, texts and sounds; each step killed in turn."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tfhub_blocks.records.base.lineage import read_lineage

ROOT = Path(__file__).parents[1]
STEPS = ["imported", "snapshot", "features", "head", "evaluation", "registration"]


def command(
    folder: Path, source: Path, encoder: Path, *more: str, pipeline: str = "transfer_learning"
) -> list[str]:
    return [
        *(sys.executable, "-m", "tfhub_blocks.cli", "run", pipeline, "--json"),
        *("--runs-dir", str(folder / "runs"), "--set", f"source={source}"),
        *("--set", f"encoder={encoder}", *more),
    ]


def run(folder: Path, source: Path, encoder: Path, *more: str, **options: str) -> dict:
    done = subprocess.run(
        command(folder, source, encoder, *more, **options),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_images(folder: Path) -> Path:
    random = np.random.default_rng(3)
    for label, tint in {"dark": 60, "light": 180}.items():
        (folder / label).mkdir(parents=True)
        for index in range(80):  # 15 % of both classes: more than min_test_items
            pixels = np.clip(random.normal(tint, 50, (24, 24, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{index}.png")
    return folder


def kill_in(folder: Path, arguments: list[str], step: str) -> dict:
    """Start a run, kill one of its steps as soon as its own code runs, and give the record."""
    seen = set(map(str, (folder / "runs").glob("runs/*/steps/*/log.txt")))
    process = subprocess.Popen(
        arguments,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    killed = False
    while not killed and process.poll() is None:
        logs = (folder / "runs/runs").glob(f"*/steps/{step}/log.txt")
        begun = any(" User Logs " in log.read_text() and str(log) not in seen for log in logs)
        for child in psutil.Process(process.pid).children(recursive=True) if begun else []:
            if f"/steps/{step}/code" in child.cwd():
                child.kill()
                killed = True
        time.sleep(0.005)
    output, _ = process.communicate(timeout=120)
    assert killed, output
    assert process.returncode == 1
    return json.loads(output)


def test_images_run_end_to_end(images_run):
    assert images_run["status"] == "Completed"
    assert list(images_run["steps"]) == STEPS
    assert images_run["metrics"]["accuracy"] > 0.8
    registration = json.loads(Path(images_run["outputs"]["registration"]).read_text())
    assert registration["version"] == "1"
    report = (Path(images_run["outputs"]["report"]) / "report.html").read_text()
    assert read_lineage(Path(images_run["outputs"]["model"])).digest in report


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_in_each_step_in_turn_it_leaves_nothing_finished_and_completes(
    tmp_path, imported_encoder
):
    source = write_images(tmp_path / "source")
    for number, step in enumerate(STEPS):
        # The first two run side by side, so the second is made before its turn; not with this.
        salt = ["--set", "split_salt=another"] if step == "snapshot" else []
        arguments = command(tmp_path, source, imported_encoder, *salt)
        record = kill_in(tmp_path, arguments, step)
        assert record["status"] == "Failed"
        assert record["steps"][step]["status"] == "Failed"
        assert record["steps"][step]["outputs"] == {}
        for later in STEPS[number + 1 :]:
            assert record["steps"][later]["status"] in ("NotStarted", "Completed")
        finished = [path.parent.name for path in (tmp_path / "runs/store").glob("*/step.json")]
        whole = {
            Path(path).parent.name
            for s in record["steps"].values()
            for path in s["outputs"].values()
        }
        assert whole <= set(finished)
    record = run(tmp_path, source, imported_encoder)
    assert record["status"] == "Completed"
    reused = [name for name, step in record["steps"].items() if step["reused"]]
    assert reused == STEPS[:-1]
    assert record["metrics"]["accuracy"] > 0.8
    assert not list((tmp_path / "runs/store").glob("*.attempt-*"))
    registration = json.loads(Path(record["outputs"]["registration"]).read_text())
    assert registration["version"] == "1"


ASK = """
import sys
sys.modules["tfhub_blocks"] = sys.modules["tensorflow_hub"] = None  # as if not installed
import json, mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
items = json.loads(sys.argv[2])
if str(model.metadata.get_input_schema().inputs[0].type) == "Any":
    items = [open(path, "rb").read() for path in items]
answers = model.predict(items)
assert len(answers["probabilities"][0]) == len(model.metadata.metadata["labels"])
assert len(model.predict(model.input_example)) == 1
print(json.dumps(answers["label"].tolist()))
"""


def ask_elsewhere(model: str, items: list[str], folder: Path) -> list[str]:
    """What a copied model answers in a process that has neither the encoder nor this library."""
    shutil.copytree(model, folder / "model")
    command = [sys.executable, "-c", ASK, "model", json.dumps(items)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_texts_run_end_to_end_by_a_preprocessor_and_an_encoder(tmp_path):
    from tfhub_blocks.samples import text_encoder
    from tfhub_blocks.samples.sample_texts import write_sample_texts

    write_sample_texts(tmp_path / "texts")
    text_encoder.write_sample(tmp_path / "encoder")

    record = run(tmp_path, tmp_path / "texts", tmp_path / "encoder")

    assert record["metrics"]["accuracy"] > 0.8
    answers = ask_elsewhere(
        record["outputs"]["model"],
        ["a slice of bread", "night train", "", "\N{PARTY POPPER} \0"],
        tmp_path,
    )
    assert answers[:2] == ["Food & Drink", "Travel & Places"]
    report = (Path(record["outputs"]["report"]) / "report.html").read_text()
    assert "<blockquote>" in report


@pytest.mark.slow
def test_sounds_run_end_to_end_by_an_encoder_of_a_third_party(tmp_path):
    from tfhub_blocks.samples import audio_encoder
    from tfhub_blocks.samples.sample_sounds import write_sample_sounds

    write_sample_sounds(tmp_path / "sounds", lambda *_: None)
    # A few items that are none, to be put up with.
    for name, content in {"empty": b"", "corrupt": b"ID3 of nothing"}.items():
        (tmp_path / f"sounds/A/{name}.mp3").write_bytes(content)
    audio_encoder.write_sample(tmp_path / "encoder")

    record = run(tmp_path, tmp_path / "sounds", tmp_path / "encoder")

    assert record["metrics"]["accuracy"] > 0.8
    items = [
        str(next((tmp_path / f"sounds/{note}").glob(f"*.{kind}")))
        for note, kind in [("C", "wav"), ("E", "flac"), ("G", "mp3")]
    ]
    assert ask_elsewhere(record["outputs"]["model"], items, tmp_path) == ["C", "E", "G"]
    snapshot = (tmp_path / "runs").glob("store/*/snapshot/rejected.parquet")
    reasons = pq.read_table(next(snapshot))["reason"].to_pylist()
    assert sorted(reasons)[1] == "the item is empty"
    assert sorted(reasons)[0].startswith("the audio cannot be decoded")


@pytest.mark.slow
def test_fine_tuning_runs_end_to_end_and_reuses_what_transfer_learning_made(
    tmp_path, keras_encoder
):
    source = write_images(tmp_path / "source")
    run(tmp_path, source, keras_encoder)
    more = ["--set", "trainable=last", "--set", "epochs=3"]
    record = run(tmp_path, source, keras_encoder, *more, pipeline="fine_tuning")

    assert record["status"] == "Completed"
    reused = {name for name, step in record["steps"].items() if step["reused"]}
    assert reused == {"imported", "snapshot", "features", "head", "probe"}
    training = json.loads((Path(record["outputs"]["record"]) / "training.json").read_text())
    assert training["cut"]["trained_from"] == "last/kernel"
    assert (Path(record["outputs"]["probe_report"]) / "report.html").is_file()
    images = [str(next((source / label).glob("*.png"))) for label in ("dark", "light")]
    assert len(ask_elsewhere(record["outputs"]["model"], images, tmp_path)) == 2
