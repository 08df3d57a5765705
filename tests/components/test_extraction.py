"""import_encoder and extract_features, run as Azure would."""

import json
import os
import re
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from toy_project import wait_for

from tfhub_blocks.records.base.lineage import read_lineage
from tfhub_blocks.records.formats.features import open_features
from tfhub_blocks.records.pins.pins import read_pin


def test_an_encoder_is_imported_then_applied_to_a_snapshot(
    saved_encoder: Path, write_test_snapshot, jpeg, execute_step, tmp_path: Path
) -> None:
    snapshot = write_test_snapshot(tmp_path / "snapshot", map(jpeg, range(20)))
    encoder, features = tmp_path / "encoder", tmp_path / "features"

    done = execute_step(
        "import_encoder", {"source": saved_encoder, "unpinned": "accept"}, {"encoder": encoder}
    )
    assert done.returncode == 0, done.stderr
    pin = read_pin(encoder / "encoder.toml")
    assert "format_version = 1\n" in done.stdout
    assert f"small: image encoder, 24 features, 4 files, digest {pin.digest}\n" in done.stdout
    assert done.stderr == ""

    done = execute_step(
        "extract_features", {"snapshot": snapshot, "encoder": encoder}, {"features": features}
    )
    assert done.returncode == 0, done.stderr
    assert "progress: 20/20 items" in done.stdout
    assert done.stderr == ""
    opened = open_features(features, "test")
    assert sum(batch.num_rows for batch in opened.batches()) == 20
    lineage = opened.folder.lineage
    assert lineage.material("encoder").digest == read_lineage(encoder).digest
    assert lineage.material("snapshot").digest == read_lineage(snapshot).digest
    assert lineage.provenance.parameters["engine"] == "auto"
    assert lineage.provenance.facts["engine"]["kind"] == "tensorflow/cpu"
    assert lineage.provenance.facts["engine"]["parity"]["largest"] < 1e-4
    assert lineage.provenance.facts["encoder_digest"] == pin.digest
    environment = lineage.provenance.facts["environment"]
    assert environment["environment"].startswith("tfhub-blocks-gpu:")
    assert environment["tensorflow"]["version"] == version("tensorflow")
    told = {"version", "build", "threads", "cuda", "cudnn", "gpus", "driver"}
    assert environment["tensorflow"].keys() == told
    machine = lineage.provenance.facts["machine"]
    assert machine["cores"] == len(os.sched_getaffinity(0))
    assert any("threads" in library for library in machine["blas"])


def test_mistakes_end_a_step_with_one_line_and_no_output(
    saved_encoder: Path, imported_encoder: Path, write_test_snapshot, execute_step, tmp_path: Path
) -> None:
    damaged = shutil.copytree(imported_encoder, tmp_path / "damaged")
    with (damaged / "saved_model/saved_model.pb").open("ab") as file:
        file.write(b"\0")
    texts = write_test_snapshot(tmp_path / "texts", [b"a text"], modality="text")
    cases = [
        (
            "import_encoder",
            {"source": saved_encoder, "unpinned": "refuse"},
            "set unpinned=accept once",
        ),
        ("import_encoder", {"source": damaged}, "> saved_model.pb] file saved_model.pb has sha256"),
        (
            "import_encoder",
            {"unpinned": "maybe"},
            "'maybe' is not allowed. Expected one of accept, refuse",
        ),
        (
            "extract_features",
            {"snapshot": texts, "encoder": imported_encoder},
            "the modality of the snapshot is text, and small takes image",
        ),
        (
            "extract_features",
            {"snapshot": texts, "encoder": damaged},
            "> saved_model.pb] file saved_model.pb has sha256",
        ),
    ]
    for name, inputs, message in cases:
        port = {"import_encoder": "encoder", "extract_features": "features"}[name]
        output = tmp_path / "output"
        done = execute_step(name, inputs, {port: output})

        assert done.returncode == 1, done.stdout
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: [")
        assert message in line
        assert not (output / "lineage.json").exists()


@pytest.mark.slow
def test_workers_share_an_extraction_and_what_a_killed_one_finished_is_not_lost(
    imported_encoder: Path, write_test_snapshot, jpeg, start_step, execute_step, tmp_path: Path
) -> None:
    snapshot = write_test_snapshot(tmp_path / "snapshot", map(jpeg, range(1700)), rows=50)
    inputs = {"snapshot": snapshot, "encoder": imported_encoder, "engine": "tensorflow"}
    outputs = {"features": tmp_path / "features"}
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    workers = [
        start_step(
            "extract_features",
            inputs,
            outputs,
            TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}),
        )
        for index in (0, 1)
    ]
    # The first worker has three parts, the second has four.
    parts = ".work/*/*/parts/000003-*"
    wait_for(lambda: list((tmp_path / "features").glob(parts)), poll_s=0.002)
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.communicate()
    assert not (tmp_path / "features/lineage.json").exists()

    rerun = execute_step("extract_features", inputs, outputs)

    assert rerun.returncode == 0, rerun.stderr
    finished = re.search("resuming after ([1-6]) finished parts", rerun.stdout)
    assert finished, rerun.stdout
    made = tmp_path / "at_once"
    execute_step("extract_features", inputs, {"features": made})
    assert open_features(outputs["features"], "test").folder.digest == (
        open_features(made, "test").folder.digest
    )
    assert not (tmp_path / "features/.work").exists()
