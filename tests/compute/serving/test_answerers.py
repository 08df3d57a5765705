"""Answerers: whatever runtime computes, the answers are the model's."""

import shutil

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema

from tfhub_blocks.compute.answering.answerers import (
    UndecodableError,
    answered_at_once,
    batch_sizes,
)
from tfhub_blocks.compute.answering.opener import find_answering, open_answerer
from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.models import PYFUNC as PYFUNC_FORMAT
from tfhub_blocks.records.formats.runtimes import Runtime
from tfhub_blocks.records.formats.snapshots import open_snapshot

RUNTIMES = [
    Runtime(),
    Runtime("tensorflow", largest_batch=4),
    Runtime("openvino", threads=2),
    Runtime("openvino", threads=2, concurrency=2, largest_batch=3),
]

PYFUNC = """
import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel

class Lengths(PythonModel):
    def predict(self, context, model_input, params=None):
        sizes = [len(content) for content in model_input.iloc[:, 0]]
        if 0 in sizes:
            raise ValueError("nothing in it")
        return pd.DataFrame({"short": [1 / s for s in sizes], "long": [1 - 1 / s for s in sizes]})

mlflow.models.set_model(Lengths())
"""


@pytest.fixture(scope="module")
def contents(coloured_snapshot):
    rows = next(iter(open_snapshot(coloured_snapshot, "test").batches())).to_pylist()
    return [row["content"] for row in rows[:6]]


@pytest.fixture(scope="module")
def lengths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pyfunc")
    (folder / "lengths.py").write_text(PYFUNC)
    signature = ModelSignature(Schema([ColSpec(DataType.binary, "contents")]))
    path = folder / "model"
    mlflow.pyfunc.save_model(str(path), python_model=folder / "lengths.py", signature=signature)
    return path


@pytest.mark.parametrize("runtime", RUNTIMES, ids=lambda runtime: runtime.name)
def test_each_runtime_gives_what_the_model_answers(runtime, colours_model, contents):
    scorer = mlflow.pyfunc.load_model(str(colours_model)).unwrap_python_model()
    table = pd.DataFrame({"contents": contents})
    expected = np.stack(scorer.predict(None, table)["probabilities"])

    answerer = open_answerer(colours_model, where="test", runtime=runtime)

    assert answerer.labels == ("blue", "green", "red")
    np.testing.assert_allclose(answerer(contents), expected, atol=1e-5)
    np.testing.assert_allclose(answerer(contents[:1]), expected[:1], atol=1e-5)
    with pytest.raises(UndecodableError) as refusal:
        answerer([contents[0], contents[1][:60], contents[2]])
    assert refusal.value.index == 1


@pytest.mark.parametrize("runtime", [Runtime(), Runtime("openvino")], ids=lambda r: r.name)
def test_encoder_answers_what_it_gives(runtime, imported_encoder, contents):
    answerer = open_answerer(imported_encoder, where="test", runtime=runtime)
    expected = load_encoder(imported_encoder, "test").encode(contents)
    np.testing.assert_allclose(answerer(contents), expected, rtol=1e-4, atol=1e-5)
    assert answerer.labels[:2] == ("0", "1")


def test_foreign_pyfunc_answers_with_its_own_columns(lengths):
    answerer = open_answerer(lengths, trust_code=True, where="test")
    np.testing.assert_allclose(answerer([b"ab", "abcd"]), [[0.5, 0.5], [0.25, 0.75]])
    assert answerer.labels == ("short", "long")
    with pytest.raises(UndecodableError, match="nothing in it") as refusal:
        answerer([b"ab", b"", b"c"])
    assert refusal.value.index == 1


def test_foreign_pyfunc_takes_no_engine(lengths):
    with pytest.raises(BlocksError, match="no engine can convert a third-party pyfunc"):
        open_answerer(lengths, trust_code=True, where="test", runtime=Runtime("openvino"))


def test_runtime_in_the_folder_is_the_one_that_answers(lengths):
    Runtime(threads=2).write(lengths)
    try:
        assert open_answerer(lengths, trust_code=True, where="test").runtime == Runtime(threads=2)
    finally:
        (lengths / "runtime.toml").unlink()


def test_folder_of_anything_else_is_refused(coloured_snapshot, tmp_path):
    with pytest.raises(BlocksError, match="the folder contains snapshot/"):
        open_answerer(coloured_snapshot, where="test")
    with pytest.raises(BlocksError, match="the folder contains no model"):
        open_answerer(tmp_path, where="test")


def test_either_a_model_or_an_encoder_is_opened(imported_encoder, colours_model):
    answerer = open_answerer(encoder=imported_encoder, where="test")
    assert answerer.labels == load_encoder(imported_encoder).labels
    for folders, told in (
        ({}, "neither model nor encoder is set"),
        ({"model": colours_model, "encoder": imported_encoder}, "both model and encoder are set"),
    ):
        with pytest.raises(BlocksError, match=rf"^\[test > model\] {told}\. Expected one of them"):
            open_answerer(**folders, where="test")


def test_digest_of_a_pyfunc_is_that_of_its_lineage_if_it_has_one(lengths, tmp_path):
    alone = find_answering(lengths, None, "test", trust_code=True)
    copy = tmp_path / "copy"
    provenance = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
    shutil.copytree(lengths, begin_folder(copy, provenance), dirs_exist_ok=True)
    finish_folder(copy, "served_model", PYFUNC_FORMAT, provenance)
    assert find_answering(copy, None, "test", trust_code=True).digest() == alone.digest()
    (copy / "MLmodel").write_text("flavors: {}")
    with pytest.raises(BlocksError, match="MLmodel"):
        find_answering(copy, None, "test", trust_code=True).digest()


def test_sizes_of_batches_double_up_to_the_largest():
    assert [batch_sizes(largest) for largest in (1, 2, 6, 8)] == [
        [1],
        [1, 2],
        [1, 2, 4, 6],
        [1, 2, 4, 8],
    ]


def test_who_fails_alone_is_told_and_a_failure_of_all_together_is_the_programs_own():
    asked = []

    def ask(items):
        asked.append(len(items))
        if "broken" in items or "crowd" in items[:-1]:
            raise UndecodableError("broken" in items and "it is broken") from ValueError("together")
        return np.zeros((len(items), 2), np.float32)

    assert answered_at_once(ask, ["a", "b"]).shape == (2, 2)
    assert asked == [2]
    with pytest.raises(UndecodableError, match="it is broken") as caught:
        answered_at_once(ask, ["a", "broken", "b"])
    assert caught.value.index == 1
    assert asked == [2, 3, 1, 1]
    with pytest.raises(ValueError, match="together"):
        answered_at_once(ask, ["crowd", "a"])
