"""The four classes of object that a SavedModel gives, each to a model that stands alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from frozen import frozen_vectors

from tfhub_blocks.compute.encoders.encoder import Encoder, load_encoder
from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model
from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.modalities.images import Images
from tfhub_blocks.compute.models.model_writing import ServingModule
from tfhub_blocks.compute.tf.saved_model_writing import save_module
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.pins import pins

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
KERNEL = np.random.default_rng(0).normal(0, 0.3, (5, 5, 3, 4)).astype(np.float32)


def encoder_of(saved: Path, folder: Path, facts: str | None = None) -> Encoder:
    partial = begin_folder(folder, PROVENANCE)
    import_saved_model(ImportRequest(str(saved), None, None, "accept", facts), partial)
    finish_folder(folder, "encoder", pins.FORMAT, PROVENANCE)
    return load_encoder(folder, "test")


def expected(images: Any) -> Any:
    return tf.reduce_mean(tf.nn.conv2d(images, KERNEL, 2, "SAME"), [1, 2])


def save_reusable(folder: Path) -> None:
    class Module(tf.Module):
        variables = trainable_variables = ()

        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(KERNEL)
            self.variables = self.trainable_variables = [self.kernel]

        @tf.function(input_signature=[tf.TensorSpec([None, 32, 32, 3], tf.float32)])
        def __call__(self, images):
            return tf.reduce_mean(tf.nn.conv2d(images, self.kernel, 2, "SAME"), [1, 2])

    tf.saved_model.save(Module(), str(folder))


def keras_model() -> keras.Model:
    layers = [
        keras.Input((32, 32, 3)),
        keras.layers.Conv2D(4, 5, 2, "same", use_bias=False),
        keras.layers.GlobalAveragePooling2D(),
    ]
    model = keras.Sequential(layers)
    model.set_weights([KERNEL])
    return model


def save_tf1_hub(folder: Path, graph: Callable[[Any], Any], dtype: Any, shape: list) -> None:
    """As the TF1 Hub format has it: an untagged graph, a signature ``default``, and a marker."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = v1.placeholder(dtype, shape, "items")
        outputs = graph(inputs)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        signature = v1.saved_model.predict_signature_def({"items": inputs}, {"default": outputs})
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session, [], {"default": signature}, main_op=v1.tables_initializer()
        )
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")


def save_tf1_images(folder: Path) -> None:
    def graph(images):
        kernel = tf.compat.v1.get_variable("kernel", initializer=KERNEL)
        return tf.reduce_mean(tf.nn.conv2d(images, kernel, 2, "SAME"), [1, 2])

    save_tf1_hub(folder, graph, tf.float32, [None, 32, 32, 3])


CLASSES = {
    "reusable": save_reusable,
    "keras_export": lambda folder: keras_model().export(str(folder), verbose=False),
    "signature": lambda folder: tf.saved_model.save(keras_model(), str(folder)),
    "tf1_hub": save_tf1_images,
}


def served(encoder: Encoder, folder: Path) -> Callable[[list[bytes]], np.ndarray]:
    """A model of the encoder and a head that copies features, saved and loaded again."""
    dimension = encoder.pin.output.dimension
    labels = tuple(map(str, range(dimension)))
    head = Head(np.eye(dimension, dtype=np.float32), np.zeros(dimension, np.float32), labels, 1.0)
    module = ServingModule(encoder, head)
    save_module(module, folder, module.trace())
    loaded = tf.saved_model.load(str(folder)).signatures["serving_default"]
    return lambda contents: loaded(contents=tf.constant(contents))["probabilities"].numpy()


@pytest.mark.parametrize("kind", CLASSES)
def test_each_class_gives_the_same_features_and_a_model_that_stands_alone(
    kind: str, tmp_path: Path
) -> None:
    CLASSES[kind](tmp_path / "saved")

    encoder = encoder_of(tmp_path / "saved", tmp_path / "encoder")

    assert encoder.pin.loaded_class == kind
    assert encoder.pin.training.variables == (0 if kind == "signature" else 1)
    assert len(encoder.pin.training.trainable) == (1 if kind in ("reusable", "keras_export") else 0)
    contents = list(Images.samples())
    images = tf.constant(encoder.prepare(contents))
    features = encoder.encode(contents)
    np.testing.assert_allclose(features, expected(images), atol=1e-5)
    np.testing.assert_allclose(frozen_vectors(encoder, contents), features, atol=1e-5)
    answers = served(encoder, tmp_path / "model")(contents)
    np.testing.assert_allclose(answers, tf.nn.softmax(features), atol=1e-5)


def test_a_tf1_module_with_a_vocabulary(tmp_path: Path) -> None:
    def graph(texts):
        words = tf.lookup.KeyValueTensorInitializer(["good", "bad"], tf.constant([1, 2], tf.int64))
        table = tf.lookup.StaticHashTable(words, 0)
        vectors = tf.compat.v1.get_variable(
            "vectors", initializer=[[0.0, 0.0], [1.0, 2.0], [-1.0, 3.0]]
        )
        return tf.gather(vectors, table.lookup(texts))

    save_tf1_hub(tmp_path / "saved", graph, tf.string, [None])

    encoder = encoder_of(tmp_path / "saved", tmp_path / "encoder")
    assert encoder.encode([b"good", b"bad", b"neither"]).tolist() == [[1, 2], [-1, 3], [0, 0]]
    answers = served(encoder, tmp_path / "model")([b"good"])
    np.testing.assert_allclose(answers, tf.nn.softmax([[1.0, 2.0]]), atol=1e-5)
