"""The main job through the command line: each of its steps killed in turn, and text end to end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
STEPS = ["imported", "snapshot", "features", "head", "evaluation", "registration"]


def command(folder: Path, source: Path, encoder: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "tfhub_blocks.cli", "run", "transfer_learning", "--json"),
        *("--runs-dir", str(folder / "runs"), "--set", f"source={source}"),
        *("--set", f"encoder={encoder}", *more),
    ]


def run(folder: Path, source: Path, encoder: Path, *more: str) -> dict:
    done = subprocess.run(
        command(folder, source, encoder, *more),
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
        for index in range(40):
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


def test_text_runs_end_to_end_to_a_model_that_takes_strings(tmp_path):
    from tfhub_blocks.compute.runtime import tf

    class Words(tf.Module):
        """A string-vector encoder: a bag of hashed words."""

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            words = tf.strings.split(tf.strings.lower(texts)).to_tensor("")
            hashed = tf.one_hot(tf.strings.to_hash_bucket_fast(words, 64), 64)
            present = tf.cast(words != "", tf.float32)[:, :, None]
            return tf.reduce_sum(hashed * present, axis=1)

    tf.saved_model.save(Words(), str(tmp_path / "words"))
    source = tmp_path / "source"
    source.mkdir()
    rows = [
        {"text": f"{word} number {index}", "label": label}
        for index in range(60)
        for word, label in [
            ("cat", "animal"),
            ("dog", "animal"),
            ("tea", "drink"),
            ("ale", "drink"),
        ]
    ]
    (source / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    record = run(tmp_path, source, tmp_path / "words")
    assert record["metrics"]["accuracy"] > 0.95

    import mlflow

    model = mlflow.pyfunc.load_model(record["outputs"]["model"])
    answers = model.predict(["cat number 7", "tea number 7", ""])
    assert answers["label"].tolist()[:2] == ["animal", "drink"]
    assert len(answers["probabilities"][2]) == 2
