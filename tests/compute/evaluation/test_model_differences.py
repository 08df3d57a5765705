"""How far two models are apart: the same one, one with another head, one with another encoder."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.evaluation.model_differences import model_difference
from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.models.model_writing import write_model
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance, read_lineage
from tfhub_blocks.records.formats.models import MODEL

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
LABELS = ("blue", "green", "red")


def write(folder: Path, encoder: Path, shift: float, labels: tuple[str, ...] = LABELS) -> Path:
    random = np.random.default_rng(0)
    weights = random.normal(0, 0.1, (24, len(labels))).astype(np.float32)
    weights[:, 0] += shift
    loaded = load_encoder(encoder, "test")
    head = Head(weights, np.zeros(len(labels), np.float32), labels, 1.0)
    write_model(begin_folder(folder, PROVENANCE), loaded, head, {"encoder_digest": loaded.digest})
    finish_folder(folder, "model", MODEL, PROVENANCE)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory, imported_encoder) -> Path:
    return write(tmp_path_factory.mktemp("models") / "one", imported_encoder, 0.0)


def test_same_model_differs_in_nothing(model, tmp_path, imported_encoder, coloured_snapshot):
    again = write(tmp_path / "again", imported_encoder, 0.0)
    assert read_lineage(again).digest == read_lineage(model).digest
    found = model_difference(model, again, coloured_snapshot)
    assert (found.variables, found.apart, found.lacking) == (5, {}, ())
    assert found.items == found.agreeing > 0
    assert found.probability == 0.0


def test_each_variable_that_differs_is_told_with_how_much(
    model, tmp_path, imported_encoder, coloured_snapshot
):
    other = write(tmp_path / "other", imported_encoder, -50.0)
    found = model_difference(model, other, coloured_snapshot)
    assert found.apart == {"_weights": pytest.approx(50.0)}
    assert found.agreeing < found.items
    assert found.probability > 0.1
    lines = list(found.lines())
    assert lines[:2] == ["1 of 5 variables differ", "  _weights: by at most 50"]
    assert lines[2].startswith(f"{found.agreeing} of {found.items} labels of the test split agree")


def test_models_of_other_classes_are_not_asked(
    model, tmp_path, imported_encoder, coloured_snapshot
):
    other = write(tmp_path / "other", imported_encoder, 0.0, (*LABELS, "yellow"))
    found = model_difference(model, other, coloured_snapshot)
    assert set(found.lacking) == {"_weights", "_bias"}
    assert found.items == 0


def test_model_that_was_changed_is_refused(model, tmp_path):
    shutil.copytree(model, tmp_path / "changed")
    (tmp_path / "changed/MLmodel").write_text("metadata: {}")
    with pytest.raises(BlocksError, match="MLmodel"):
        model_difference(model, tmp_path / "changed", None)
