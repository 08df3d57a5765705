"""batch_inference through the command line: today's data on top of yesterday's, and its lineage."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tfhub_blocks.records.formats.predictions import open_predictions

ROOT = Path(__file__).parents[1]


def blocks(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tfhub_blocks.cli", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_day_is_added_to_the_predictions_and_an_item_is_found_in_them(
    colours_model: Path, coloured_snapshot: Path, tmp_path: Path
) -> None:
    images = sorted((coloured_snapshot.parent / "source/red").iterdir())
    data = tmp_path / "data"
    (data / "monday").mkdir(parents=True)
    for path in images[:20]:
        shutil.copy(path, data / "monday")
    words = ["run", "batch_inference", "--json", "--set", "data=data"]
    words += ["--set", f"model={colours_model}"]
    blocks(tmp_path, *words)
    earlier = (tmp_path / ".runs/runs/latest/outputs/predictions").resolve()
    (data / "tuesday").mkdir()
    for path in images[20:25]:
        shutil.copy(path, data / "tuesday")

    record = json.loads(blocks(tmp_path, *words, "--set", f"previous_predictions={earlier}"))

    assert record["status"] == "Completed"
    made = open_predictions(tmp_path / ".runs/runs/latest/outputs/predictions", "test")
    assert (made.manifest.rows, made.manifest.scored) == (25, 5)
    assert made.folder.lineage.material("previous_predictions").digest
    found = blocks(tmp_path, "lineage", "--uses", f"tuesday/{images[20].name}")
    (line,) = [line for line in found.splitlines() if "in the predictions" in line]
    assert f"is tuesday/{images[20].name} in the predictions" in line
    # Monday's are in both.
    found = blocks(tmp_path, "lineage", "--uses", str(images[3]))
    assert found.count("in the predictions") == 2
    assert "0 faults" in blocks(tmp_path, "verify", record["run"])


@pytest.mark.slow
def test_somebodys_pyfunc_scores_and_the_chain_begins_with_its_digest(
    brightness_model: Path, coloured_snapshot: Path, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for path in sorted((coloured_snapshot.parent / "source/red").iterdir())[:5]:
        shutil.copy(path, tmp_path / "data")
    words = ["--set", "data=data", "--set", f"model={brightness_model}"]
    words += ["--set", "trust_code=true"]

    record = json.loads(blocks(tmp_path, "run", "batch_inference", "--json", *words))

    made = open_predictions(tmp_path / ".runs/runs/latest/outputs/predictions", "test")
    assert (made.manifest.rows, made.manifest.labels) == (5, ("dark", "bright"))
    assert made.folder.lineage.material("model").digest == made.manifest.model_digest
    told = blocks(tmp_path, "verify", record["run"])
    assert f"model <- {brightness_model}" in told
    assert "0 faults" in told
