"""``monitor``: new items of a trained model by the command line, night after night."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_main_job import ROOT


def write_night(folder: Path, seed: int, light: float = 1.0) -> Path:
    random = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    for index in range(30):
        tint = light * (60, 180)[index % 2]
        pixels = np.clip(random.normal(tint, 50 * light, (24, 24, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{seed}-{index}.png")
    return folder


def monitor(runs: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tfhub_blocks.cli", "monitor", *words, "--runs-dir", str(runs)],
        cwd=runs.parent,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_nights_count_once_and_a_change_ends_with_status_1(images_run, tmp_path):
    model = Path(images_run["outputs"]["model"])
    runs = Path(images_run["folder"]).parents[1]
    night = write_night(tmp_path / "night", 1)

    first = monitor(runs, str(model), "--source", str(night), "--json")
    assert first.returncode == 0, first.stderr
    again = monitor(runs, str(model), "--source", str(night), "--json")
    assert again.returncode == 0, again.stderr
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    assert one["looks"] == two["looks"]
    assert [look["items"] for look in one["looks"]] == [30]

    write_night(night, 2, light=0.4)  # the folder grows
    last = monitor(runs, str(model), "--source", str(night))
    assert last.returncode == 1, last.stderr
    assert "alarm: look 2, 30 new items" in last.stdout
    assert "The items have moved" in last.stdout
    status = monitor(runs, "status")
    assert status.returncode == 1
    assert "alarm: look 2" in status.stdout


def test_requests_without_items_or_with_both_are_refused(tmp_path):
    for words, problem in (
        (("model",), "neither is set"),
        (("model", "--source", "a", "--current", "b"), "both --source and --current are set"),
    ):
        done = monitor(tmp_path / "runs", *words)
        assert done.returncode == 2
        assert problem in done.stderr
        assert done.stderr.count("\n") == 1
    none = monitor(tmp_path / "runs", "status")
    assert (none.returncode, none.stdout) == (0, f"no monitoring in {tmp_path / 'runs'}\n")
