"""All shipped pipelines, killed at random moments and run again: the outputs are the same bits.

BLOCKS_KILLS is the number of kills (100), BLOCKS_KILLS_SEED the seed of their moments (0).
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from test_main_job import ROOT, write_images

from tfhub_blocks.records.base.digests import files_sha256

KILLS = int(os.environ.get("BLOCKS_KILLS", "100"))
SEED = int(os.environ.get("BLOCKS_KILLS_SEED", "0"))
# The files that state times, by which two runs differ: statements, and what names their digests.
# The latency gate's choice and report depend on measured times, too.
TIMES = {"lineage.json", "evidence.json", "report.html", "summary.json"}
TIMED_STEPS = {"latency_gate"}
PATIENCE_S = 1200.0


def settings(pipeline: str, folder: Path, encoder: Path, made: dict) -> list[str]:
    """The inputs of a pipeline; ``made`` is the record of the first one."""
    data = ["--set", f"source={folder / 'source'}", "--set", f"encoder={encoder}"]
    owner = ["--set", "owner=somebody"]
    of = made.get("outputs", {})
    steps = made.get("steps", {})
    return {
        "transfer_learning": [*data, *owner],
        "fine_tuning": [*data, *owner, "--set", "trainable=1", "--set", "epochs=1"],
        "batch_inference": [
            "--set",
            f"data={folder / 'source'}",
            "--set",
            f"model={of.get('model')}",
        ],
        "latency_gate": [
            *("--set", f"model={of.get('model')}", *owner, "--set", "requests=400"),
            *("--set", f"snapshot={steps.get('snapshot', {}).get('outputs', {}).get('snapshot')}"),
            *("--set", "seconds=0.2", "--set", "engines=own", "--set", "threads=1"),
            *("--set", "precisions=float32", "--set", "windows_ms=0", "--set", "batch_sizes=1"),
        ],
    }[pipeline]


def start(folder: Path, runs: str, pipeline: str, words: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "tfhub_blocks.cli", "run", pipeline, "--json"),
            *("--runs-dir", str(folder / runs), *words),
        ],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def complete(folder: Path, runs: str, pipeline: str, words: list[str]) -> dict:
    process = start(folder, runs, pipeline, words)
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, err
    assert "was changed after the step wrote it" not in err
    return json.loads(out)


def bits(record: dict) -> dict[str, str]:
    """The digest of each file of each output of each step, those with times aside."""
    found = {}
    for name, step in record["steps"].items():
        for port, path in step["outputs"].items():
            place = Path(path)
            files = files_sha256(place) if place.is_dir() else {place.name: "a file"}
            for file, digest in files.items():
                if Path(file).name not in TIMES:
                    found[f"{name}/{port}/{file}"] = digest
    return found


def kill_all(process: subprocess.Popen, rng: random.Random) -> None:
    """Kill the engine, a step, or both; steps whose engine is gone end by themselves."""
    children = psutil.Process(process.pid).children(recursive=True)
    victims = [process.pid] if rng.random() < 0.5 or not children else []
    victims += [rng.choice(children).pid] if children and rng.random() < 0.7 else []
    for number in victims or [process.pid]:
        try:
            os.kill(number, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.communicate(timeout=PATIENCE_S)
    for child in children:
        try:
            child.wait(60)
        except psutil.TimeoutExpired:  # e.g. it sleeps in a call of the system
            child.kill()


def check_nothing_half_written(runs: Path) -> None:
    for path in runs.glob("store/*"):
        is_finished = "." not in path.name
        assert not is_finished or (path / "step.json").is_file(), path
    for path in runs.glob("runs/*/run.json"):
        json.loads(path.read_text())
    for path in runs.rglob("*.partial"):
        # Only what a killed process was about to write, under a name that no reader takes.
        assert path.name.startswith("."), path


@pytest.mark.soak
@pytest.mark.timeout(6 * 3600)
def test_killed_pipelines_give_the_same_bits(tmp_path, imported_encoder):
    rng = random.Random(SEED)  # noqa: S311 - the same moments for the same seed
    write_images(tmp_path / "source")
    made: dict = {}
    expected, needed_s, words = {}, {}, {}
    pipelines = ["transfer_learning", "fine_tuning", "batch_inference", "latency_gate"]
    for pipeline in pipelines:
        words[pipeline] = settings(pipeline, tmp_path, imported_encoder, made)
        begun = time.monotonic()
        record = complete(tmp_path, "whole", pipeline, words[pipeline])
        needed_s[pipeline] = time.monotonic() - begun
        expected[pipeline] = bits(record)
        made = made or record
    kills = 0
    while kills < KILLS:
        for pipeline in pipelines:
            runs = f"killed-{pipeline}-{kills}"
            # Several kills of one job, each later than the one before can have been of use.
            for _ in range(rng.randrange(1, 4)):
                process = start(tmp_path, runs, pipeline, words[pipeline])
                time.sleep(rng.uniform(0.05, 1.0) * needed_s[pipeline])
                if process.poll() is None:
                    kill_all(process, rng)
                    kills += 1
                else:
                    process.communicate()
                check_nothing_half_written(tmp_path / runs)
            record = complete(tmp_path, runs, pipeline, words[pipeline])
            found = bits(record)
            if pipeline in TIMED_STEPS:
                assert found.keys() == expected[pipeline].keys()
            else:
                differ = [
                    name
                    for name in expected[pipeline]
                    if found.get(name) != expected[pipeline][name]
                ]
                assert not differ, (pipeline, kills, differ)
                assert found.keys() == expected[pipeline].keys()
            assert not list((tmp_path / runs).glob("store/*.attempt-*"))
            print(f"{kills} kills: {pipeline} gives the same", flush=True)
