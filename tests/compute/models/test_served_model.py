"""A model's two halves: what an engine makes fast is what the model answers."""

import shutil
import zipfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from tfhub_blocks.compute.inference.computations import batched
from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.modalities import pictures
from tfhub_blocks.compute.models.carried_program import carried_decode
from tfhub_blocks.compute.models.served_model import load_served
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.snapshots import open_snapshot


@pytest.mark.parametrize("engine", ENGINES)
def test_halves_by_any_engine_give_what_the_model_answers(engine, colours_model, coloured_snapshot):
    items = [
        (row["id"], row["content"])
        for batch in open_snapshot(coloured_snapshot, "test").batches()
        for row in batch.to_pylist()
    ][:21]
    scorer = mlflow.pyfunc.load_model(str(colours_model)).unwrap_python_model()
    table = pd.DataFrame({"contents": [content for _, content in items]})
    answers = np.stack(scorer.predict(None, table)["probabilities"])

    computation = load_served(colours_model, "test").computation(8, "test")
    forward = ENGINES[engine].compiled(computation.forward, "float32")
    batches = enumerate(batched(items, 8))
    given = list(computation.vectors(batches, forward))

    assert [name for _, names, _ in given for name in names] == [name for name, _ in items]
    np.testing.assert_allclose(np.concatenate([rows for *_, rows in given]), answers, atol=1e-5)
    assert len(np.unique(answers.argmax(axis=1))) > 1


def test_a_model_carries_the_program_that_prepares_its_items(colours_model, coloured_snapshot):
    with zipfile.ZipFile(colours_model / "program.zip") as archive:
        carried = {archive.read(name) for name in archive.namelist()}
    assert Path(pictures.__file__).read_bytes() in carried
    requirements = (colours_model / "requirements.txt").read_text()
    assert all(f"{name}==" in requirements for name in ("simplejpeg", "pillow", "pi-heif"))

    served = load_served(colours_model, "test")
    contents = [item.content for item in open_snapshot(coloured_snapshot, "test").items()][:5]
    bare = served.loaded.signatures["serving_default"](contents=tf.constant(contents))
    answers = served.answered(served.prepare(contents))
    np.testing.assert_allclose(bare["probabilities"], answers, atol=1e-4)
    metadata = yaml.safe_load((colours_model / "MLmodel").read_text())["metadata"]
    assert metadata["preprocessing"]["preparation"] == "2"
    assert "ignores the orientation" in metadata["serving_default"]


def test_a_model_with_another_program_prepares_items_with_that_program(colours_model, tmp_path):
    model = shutil.copytree(colours_model, tmp_path / "model")
    encoder_input = load_served(colours_model, "test").input
    program = "def decode(content, **options):\n    return content, sorted(options)\n"
    record = yaml.safe_load((model / "MLmodel").read_text())
    name = record["flavors"]["python_function"]["config"]["decoder"]
    with zipfile.ZipFile(model / "program.zip", "w") as archive:
        archive.writestr(name, program)
    decode = carried_decode(model, encoder_input)
    assert decode(b"x") == (b"x", ["background", "size_px", "value_range"])


def test_changed_model_is_not_loaded(colours_model, tmp_path):
    changed = tmp_path / "model"
    changed.mkdir()
    for path in colours_model.rglob("*"):
        copy = changed / path.relative_to(colours_model)
        copy.mkdir() if path.is_dir() else copy.write_bytes(path.read_bytes())
    (changed / "encoder.toml").write_text("name = 'another'")
    with pytest.raises(BlocksError, match=r"encoder\.toml"):
        load_served(changed, "score_batch")
