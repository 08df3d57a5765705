"""Signatures of SavedModels that OpenVINO reads without TensorFlow."""

import numpy as np
import pytest

from tfhub_blocks.compute.inference.engine_interface import UnfitError
from tfhub_blocks.compute.inference.openvino_engine import OpenVinoEngine
from tfhub_blocks.compute.inference.signature_graph import read_signature, renamed_parts
from tfhub_blocks.compute.tf.tensorflow_setup import saved_model_pb2, tf

SIDE = 3


class Several(tf.Module):
    """Functions of one variable, which OpenVINO can and cannot convert."""

    def __init__(self):
        super().__init__()
        self.weights = tf.Variable(np.arange(SIDE * 2, dtype=np.float32).reshape(SIDE, 2))

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE], tf.float32, name="items")])
    def product(self, items):
        return {"rows": tf.matmul(items, self.weights), "names": tf.as_string(items)}

    @tf.function(input_signature=[tf.TensorSpec([None, SIDE], tf.float32, name="items")])
    def loop(self, items):
        rows = tf.map_fn(lambda row: tf.matmul(row[None], self.weights)[0], items)
        return {"rows": rows}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="items")])
    def lengths(self, items):
        return {"rows": tf.cast(tf.strings.length(items), tf.float32)[:, None]}


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several") / "saved model"
    module = Several()
    names = ("product", "loop", "lengths")
    tf.saved_model.save(module, str(folder), {name: getattr(module, name) for name in names})
    return folder


def test_each_batch_size_computes_the_output_of_the_signature(saved_model):
    items = np.random.default_rng(0).random((4, SIDE), np.float32)
    expected = tf.saved_model.load(str(saved_model)).signatures["product"](items=items)["rows"]
    forwards = OpenVinoEngine(1, 1).compiled_signature(
        saved_model, "product", "rows", [1, 4], "float32"
    )
    given = np.concatenate([forwards[0](items[:1]), forwards[1](items)])
    np.testing.assert_allclose(given, np.concatenate([expected[:1], expected]), rtol=1e-5)


@pytest.mark.parametrize(
    ("signature", "reason"),
    [
        ("loop", "the SavedModel's graph contains"),
        ("lengths", "OpenVINO "),
        ("absent", "the SavedModel has no signature 'absent' in one graph"),
    ],
)
def test_signature_that_openvino_cannot_compute_is_unfit(signature, reason, saved_model):
    with pytest.raises(UnfitError, match=reason):
        read_signature(saved_model, signature, "rows")


def test_everything_but_the_signatures_is_kept(saved_model):
    content = (saved_model / "saved_model.pb").read_bytes()
    given = b"".join(renamed_parts(memoryview(content), b"product", b"rows"))
    before, after = (saved_model_pb2.SavedModel.FromString(each) for each in (content, given))
    signatures = [each.meta_graphs[0].signature_def for each in (before, after)]
    assert list(signatures[1]) == ["serving_default"]
    del signatures[0]["product"].outputs["names"]
    assert signatures[1]["serving_default"] == signatures[0]["product"]
    for each in signatures:
        each.clear()
    assert after == before


def test_damaged_file_is_unfit(saved_model, tmp_path):
    content = (saved_model / "saved_model.pb").read_bytes()
    for damaged in (content[:-3], content[: len(content) // 2], b"", b"\xff" * 20, b"no proto"):
        (tmp_path / "saved_model.pb").write_bytes(damaged)
        with pytest.raises(UnfitError, match="SavedModel"):
            read_signature(tmp_path, "product", "rows")
