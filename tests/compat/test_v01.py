"""Outputs that release 0.1 wrote are read by this release.

They were written at commit 97334db by ``tfhub-blocks run transfer_learning`` over forty pictures of
6 x 6 pixels and an encoder of 12 weights each for four features.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

import tfhub_blocks
from tfhub_blocks.cli import main
from tfhub_blocks.records.base.digests import folder_files
from tfhub_blocks.records.base.lineage import read_lineage
from tfhub_blocks.records.formats.releases import read_lock

V01 = Path(__file__).parent / "v0.1"


@pytest.mark.parametrize("name", ["encoder", "features", "model", "snapshot"])
def test_every_file_matches_the_statement(name):
    folder = V01 / name
    lineage = read_lineage(folder)
    tfhub_blocks.open_folder(folder, tfhub_blocks.Format(*_format(lineage.format))).check()
    assert set(folder_files(folder)) - {"lineage.json"} == set(lineage.files)


def _format(text: str) -> tuple[str, int]:
    kind, _, number = text.partition("/")
    return kind, int(number)


def test_snapshot_and_features_are_of_the_same_items():
    snapshot = tfhub_blocks.open_snapshot(V01 / "snapshot")
    features = tfhub_blocks.open_features(V01 / "features")
    assert snapshot.manifest.items == features.manifest.items == 40
    assert features.manifest.snapshot_digest == snapshot.manifest.digest
    ids = [item.id for item in snapshot.items()]
    assert [row for batch in features.batches(["id"]) for row in batch["id"].to_pylist()] == ids


def test_features_are_those_of_the_encoder():
    encoder = tfhub_blocks.load_encoder(V01 / "encoder")
    items = list(tfhub_blocks.open_snapshot(V01 / "snapshot").items())
    found = encoder.encode([item.content for item in items])
    stored = [
        row
        for batch in tfhub_blocks.open_features(V01 / "features").batches(["vector"])
        for row in batch["vector"].to_pylist()
    ]
    np.testing.assert_allclose(found, stored, rtol=1e-4, atol=1e-5)


def test_model_answers_and_evidence_is_about_it():
    model = tfhub_blocks.load_model(V01 / "model")
    items = list(tfhub_blocks.open_snapshot(V01 / "snapshot").items())
    probabilities = model([item.content for item in items])
    labels = np.array(model.labels)[probabilities.argmax(axis=1)]
    assert np.mean(labels == [item.label for item in items]) > 0.9
    evidence = tfhub_blocks.read_evidence(V01 / "evidence.json")
    assert evidence.model_digest == read_lineage(V01 / "model").digest


def test_model_prepares_items_as_its_release_did():
    from tfhub_blocks.compute.models.served_model import load_served
    from tfhub_blocks.compute.tf.tensorflow_setup import tf

    served = load_served(V01 / "model", "test")
    contents = [item.content for item in tfhub_blocks.open_snapshot(V01 / "snapshot").items()]
    own = served.loaded.signatures["serving_default"](contents=tf.constant(contents))
    answers = served.answered(served.prepare(contents))
    np.testing.assert_allclose(answers, own["probabilities"], atol=1e-6)


def test_model_still_loads_in_mlflow_by_its_own_code(tmp_path):
    import mlflow

    shutil.copytree(V01 / "model", tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    answers = loaded.predict(loaded.input_example)
    assert set(answers.columns) == {"label", "probability", "probabilities"}


def test_verify_reads_the_files_of_a_model(capsys):
    status = main(["verify", str(V01 / "model"), "--partial"])
    out = capsys.readouterr()
    assert status == 0, out.out + out.err


def test_release_lock_is_read():
    lock = read_lock(V01 / "old.lock.toml")
    assert lock.pipeline == "transfer_learning"
    assert len(lock.steps) == 6
