"""fine_tune, run as Azure would, from a model of train_head or from nothing."""

import json
import re
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_project import wait_for

from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance, read_lineage
from tfhub_blocks.records.formats.features import ACTIVATIONS, open_features
from tfhub_blocks.records.formats.models import (
    are_training_items,
    open_model,
    read_training_items,
)
from tfhub_blocks.records.formats.snapshots import open_snapshot
from tfhub_blocks.records.pins import pins
from tfhub_blocks.records.pins.pins import Decisions, read_pin

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")


@pytest.fixture(scope="module")
def probe(write_test_model, coloured_snapshot, keras_encoder, tmp_path_factory) -> Path:
    """A model as train_head makes it, with so strong a penalty that training can gain."""
    folder = tmp_path_factory.mktemp("probe") / "model"
    elsewhere = ["f" * 64]  # an item that it learned from in another snapshot
    return write_test_model(folder, keras_encoder, coloured_snapshot, 300.0, elsewhere)


@pytest.mark.slow
def test_a_model_is_tuned_from_a_head_and_serves_as_it_did(
    probe, coloured_snapshot, keras_encoder, execute_step, tmp_path
):
    given = {
        "snapshot": coloured_snapshot,
        "encoder": keras_encoder,
        "start": probe,
        "trainable": "last",
        "epochs": 4,
    }
    outputs = {"model": tmp_path / "model", "record": tmp_path / "record"}
    run = execute_step("fine_tune", given, outputs)
    assert run.returncode == 0, run.stderr
    assert "trainable: 3 variables, beginning with last/kernel" in run.stdout
    assert "progress: 20/20 steps" in run.stdout
    assert re.search(r"trained is best: validation|is kept: validation", run.stdout)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "record"]

    record = json.loads((tmp_path / "record/training.json").read_text())
    chosen = record["comparison"]["chosen"]
    folder, metadata = open_model(tmp_path / "model", "test")
    start, expected = open_model(probe, "test")
    facts = folder.lineage.provenance.facts
    assert facts["temperature"] == chosen["temperature"]
    assert facts["threads"]["intra_op_threads"] >= 1
    assert facts["splits"]["salt"] == "splits-1"
    assert folder.lineage.material("start").digest == start.digest
    assert chosen["share"] > 0
    learned = read_training_items(folder)
    of_both = ["f" * 64, open_snapshot(coloured_snapshot, "test").index()["id"][0].as_py()]
    assert are_training_items(learned, of_both)[0]
    assert len(learned) > 1
    assert metadata.pop("fine_tuned") == {
        "trained_from": "last/kernel",
        "variables": 3,
        "share": chosen["share"],
    }
    assert metadata == expected
    for name in ("program.zip", "encoder.toml", "requirements.txt"):
        assert (folder.path / name).read_bytes() == (start.path / name).read_bytes()

    import mlflow

    rows = [r for b in open_snapshot(coloured_snapshot, "t").batches() for r in b.to_pylist()]
    rows = [row for row in rows if row["split"] == "validation"]
    losses = {}
    for name, path in (("tuned", tmp_path / "model"), ("probe", probe)):
        loaded = mlflow.pyfunc.load_model(str(path))
        assert [str(c.type) for c in loaded.metadata.get_input_schema().inputs] == ["Any"]
        answers = loaded.predict([row["content"] for row in rows])["probabilities"]
        targets = [metadata["labels"].index(row["label"]) for row in rows]
        picked = [probabilities[t] for probabilities, t in zip(answers, targets, strict=True)]
        losses[name] = -np.log(picked).mean()
    candidates = record["comparison"]["candidates"]
    assert losses["tuned"] == pytest.approx(chosen["log_loss"], abs=2e-3)
    assert losses["probe"] == pytest.approx(candidates[0]["log_loss"], abs=2e-3)
    assert losses["tuned"] < losses["probe"]


def test_a_forbidden_encoder_and_a_start_of_another_one_are_refused(
    probe, coloured_snapshot, keras_encoder, imported_encoder, execute_step, tmp_path
):
    partial = begin_folder(tmp_path / "forbidden", PROVENANCE)
    shutil.copytree(keras_encoder / "saved_model", partial / "saved_model")
    pin = read_pin(keras_encoder / "encoder.toml")
    replace(pin, decisions=Decisions(fine_tuning="forbidden")).write(partial / "encoder.toml")
    finish_folder(tmp_path / "forbidden", "encoder", pins.FORMAT, PROVENANCE)
    cases = [
        (
            {"encoder": tmp_path / "forbidden"},
            "[fine_tune > saved_model] the pin states fine_tuning = 'forbidden'. Expected "
            "fine_tuning = 'allowed'. Train a head on the encoder's features (train_head), or "
            "change the decision in the pin.",
        ),
        (
            {"encoder": imported_encoder, "start": probe},
            f"[fine_tune > start] the model was trained on encoder {pin.digest}. Expected",
        ),
    ]
    for number, (changed, message) in enumerate(cases):
        outputs = {port: tmp_path / f"{port}-{number}" for port in ("model", "record")}
        run = execute_step("fine_tune", {"snapshot": coloured_snapshot} | changed, outputs)
        assert run.returncode == 1, (message, run.stdout)
        assert run.stderr.splitlines()[-1].startswith(f"error: {message}")
        assert not (outputs["model"] / "lineage.json").exists()


@pytest.mark.slow
def test_cached_activations_are_trained_on_and_what_is_new_alone_is_computed(
    probe, coloured_snapshot, keras_encoder, execute_step, tmp_path
):
    """As each night: the activations of the night before, and the snapshot of today."""
    given = {"snapshot": coloured_snapshot, "encoder": keras_encoder, "trainable": "last"}
    made = {"activations": tmp_path / "activations"}
    run = execute_step("cache_activations", given | {"dtype": "float32"}, made)
    assert run.returncode == 0, run.stderr
    line = "240 items with 1152 activations each, by saved_model; 240 items computed"
    assert line in run.stdout
    again = {"activations": tmp_path / "again"}
    run = execute_step(
        "cache_activations",
        given | {"dtype": "float32", "previous_activations": made["activations"]},
        again,
    )
    assert line.replace("240 items computed", "0 items computed") in run.stdout, run.stderr
    first, second = (open_features(p["activations"], "t", ACTIVATIONS) for p in (made, again))
    assert first.folder.lineage.files == second.folder.lineage.files

    outputs = {"model": tmp_path / "model", "record": tmp_path / "record"}
    settings = {"start": probe, "epochs": 3, "activations": again["activations"]}
    run = execute_step("fine_tune", given | settings, outputs)
    assert run.returncode == 0, run.stderr
    assert "steps" in run.stdout
    assert not re.search(r"progress: \d+/\d+ items", run.stdout)
    used = read_lineage(outputs["model"])
    assert used.material("activations").digest == second.folder.digest


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["asked", "killed"])
def test_a_step_that_was_ended_goes_on_to_the_same_bits(
    how, probe, coloured_snapshot, keras_encoder, start_step, execute_step, tmp_path
):
    given = {
        "snapshot": coloured_snapshot,
        "encoder": keras_encoder,
        "start": probe,
        "trainable": "last",
        "epochs": 300,
        "checkpoint_every_s": 1,
    }
    outputs = {"model": tmp_path / "model", "record": tmp_path / "record"}
    process = start_step("fine_tune", given, outputs)

    def is_there():
        assert process.poll() is None, "it ended before it was to be ended"
        return list((tmp_path / "model").glob(".work/*/checkpoint.npz"))

    wait_for(is_there, poll_s=0.01)
    process.send_signal(how)
    process.communicate()
    assert process.returncode != 0
    assert not (tmp_path / "model/lineage.json").exists()

    again = execute_step("fine_tune", given, outputs)
    assert again.returncode == 0, again.stderr
    at_once = {"model": tmp_path / "at_once", "record": tmp_path / "its_record"}
    assert execute_step("fine_tune", given, at_once).returncode == 0

    first, whole = (read_lineage(tmp_path / name) for name in ("model", "at_once"))
    assert first.digest == whole.digest
    assert not (tmp_path / "model/.work").exists()
