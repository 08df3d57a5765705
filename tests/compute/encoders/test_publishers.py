"""Encoders in the forms that publishers use, built from installed packages, through every door."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doors import Doors, as_json, in_base64, json_body
from frozen import frozen_vectors

from tfhub_blocks.compute.cutting.encoder_cuts import cut_encoder
from tfhub_blocks.compute.encoders.encoder import load_pinned
from tfhub_blocks.compute.encoders.pinning import pin_encoder, verify_encoder
from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.models.model_writing import write_model
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.compute.tuning.tuning_run import TuningOptions, fine_tune
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.models import MODEL
from tfhub_blocks.records.formats.snapshots import open_snapshot
from tfhub_blocks.records.pins.pins import Decisions

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
PUBLISHERS: dict[str, tuple[Callable[[Path], None], str, dict[str, Any]]] = {}


def publisher(name: str, facts: str = "", **wanted: Any) -> Callable[[Any], Any]:
    def register(save: Callable[[Path], None]) -> Any:
        PUBLISHERS[name] = (save, facts, wanted)
        return save

    return register


@publisher("MobileNetV2 of tf_keras", range=[-1.0, 1.0], is_tuned=True)
def save_mobilenet(folder: Path) -> None:
    import tf_keras

    net = tf_keras.applications.MobileNetV2(
        (64, 64, 3), 0.35, include_top=False, weights=None, pooling="avg"
    )
    tf.saved_model.save(net, str(folder))


@publisher("EfficientNetB0 of Keras 3, exported", range=[0.0, 255.0], is_tuned=True)
def save_efficientnet(folder: Path) -> None:
    import keras

    net = keras.applications.EfficientNetB0(
        include_top=False, weights=None, pooling="avg", input_shape=(64, 64, 3)
    )
    net.export(str(folder), verbose=False)


@publisher("ResNet50 of Keras 3, exported", range=[0.0, 255.0], channels="bgr", is_tuned=True)
def save_resnet(folder: Path) -> None:
    import keras

    net = keras.applications.ResNet50(
        include_top=False, weights=None, pooling="avg", input_shape=(64, 64, 3)
    )
    net.export(str(folder), verbose=False)


@publisher("a vision transformer of Keras 3", is_tuned=True)
def save_vit(folder: Path) -> None:
    import keras

    layers = keras.layers
    inputs = layers.Input((32, 32, 3))
    x = layers.Reshape((16, 32))(layers.Conv2D(32, 8, 8, name="patches")(inputs))
    for _ in range(2):
        normed = layers.LayerNormalization()(x)
        x = x + layers.MultiHeadAttention(4, 8)(normed, normed)
        x = x + layers.Dense(32, "gelu")(layers.LayerNormalization()(x))
    outputs = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(x))
    keras.Model(inputs, outputs).export(str(folder), verbose=False)


class HubImages(tf.Module):  # type: ignore[misc]
    """As TF Hub's image modules: switches of training and of batch normalisation."""

    variables = trainable_variables = ()

    def __init__(self) -> None:
        super().__init__()
        values = np.random.default_rng(0).normal(size=(3, 3, 3, 16)).astype(np.float32)
        self.kernel = tf.Variable(values, name="kernel")
        self.mean = tf.Variable(tf.zeros([16]), trainable=False, name="mean")
        self.top = tf.Variable(tf.random.stateless_normal([16, 24], [1, 2]), name="top")
        self.variables = [self.kernel, self.mean, self.top]
        self.trainable_variables = [self.kernel, self.top]

    @tf.function
    def __call__(self, inputs: Any, training: bool = False, batch_norm_momentum: float = 0.99):
        x = tf.nn.conv2d(inputs, self.kernel, 2, "SAME")
        if training:
            mean = tf.reduce_mean(x, [0, 1, 2])
            self.mean.assign(self.mean * batch_norm_momentum + mean * (1 - batch_norm_momentum))
            x = x - mean
        else:
            x = x - self.mean
        return tf.matmul(tf.reduce_mean(tf.nn.relu6(x), [1, 2]), self.top)


@publisher("TF Hub's image modules", is_tuned=True)
def save_hub_images(folder: Path) -> None:
    module = HubImages()
    spec = tf.TensorSpec([None, 32, 32, 3], tf.float32)
    for training in (True, False):
        module.__call__.get_concrete_function(spec, training, 0.99)
    tf.saved_model.save(module, str(folder))


@publisher("TF1 Hub, image_feature_vector", "signature=image_feature_vector")
def save_tf1(folder: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(tf.float32, [None, 32, 32, 3])
        kernel = v1.get_variable("kernel", [3, 3, 3, 8])
        vector = tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(images, kernel, 2, "SAME")), [1, 2])
        session.run(v1.global_variables_initializer())
        signatures = {
            name: v1.saved_model.predict_signature_def({"images": images}, {"default": given})
            for name, given in (("default", vector[:, :4]), ("image_feature_vector", vector))
        }
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [], signatures)
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")


VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "sat", "on", "the", "mat", "##s"]


@publisher("a BERT pair of tensorflow_text", is_tuned=True)
def save_bert(folder: Path) -> None:
    import tensorflow_text

    class Preprocessor(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            ids = tf.range(len(VOCABULARY), dtype=tf.int64)
            table = tf.lookup.KeyValueTensorInitializer(VOCABULARY, ids)
            self.table = tf.lookup.StaticVocabularyTable(table, 1)
            self.tokenizer = tensorflow_text.BertTokenizer(self.table, lower_case=True)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            pieces = self.tokenizer.tokenize(texts).merge_dims(-2, -1)
            ids = tf.cast(pieces.to_tensor(0, shape=[None, 16]), tf.int32)
            mask = tf.cast(tf.sequence_mask(tf.minimum(pieces.row_lengths(), 16), 16), tf.int32)
            return {
                "input_word_ids": ids,
                "input_mask": mask,
                "input_type_ids": tf.zeros_like(ids),
            }

    class Encoder(tf.Module):
        variables = trainable_variables = ()

        def __init__(self) -> None:
            super().__init__()
            random = np.random.default_rng(0)
            self.words = tf.Variable(random.normal(size=(32, 24)).astype(np.float32))
            self.dense = tf.Variable(random.normal(size=(24, 24)).astype(np.float32))
            self.variables = self.trainable_variables = [self.words, self.dense]

        @tf.function
        def __call__(self, inputs, training=False):
            kept = tf.cast(inputs["input_mask"], tf.float32)[..., None]
            x = tf.gather(self.words, inputs["input_word_ids"]) * kept
            x = tf.nn.dropout(x, 0.1) if training else x
            pooled = tf.tanh(tf.reduce_sum(x, 1) @ self.dense)
            return {"pooled_output": pooled, "sequence_output": x, "default": pooled}

    encoder = Encoder()
    ids = tf.TensorSpec([None, 16], tf.int32)
    names = ("input_word_ids", "input_mask", "input_type_ids")
    for training in (True, False):
        encoder.__call__.get_concrete_function(dict.fromkeys(names, ids), training=training)
    tf.saved_model.save(encoder, str(folder))
    tf.saved_model.save(Preprocessor(), str(folder / "preprocessor"))


def sentencepiece_model(pieces: list[tuple[str, int]]) -> bytes:
    """A unigram model as a serialized ModelProto."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    def piece(text: str, kind: int, score: float) -> bytes:
        number = bytes([2 << 3 | 5]) + struct.pack("<f", score)
        return field(1, text.encode()) + number + bytes([3 << 3, kind])

    rows = [field(1, piece(text, kind, -n / 10)) for n, (text, kind) in enumerate(pieces)]
    return b"".join([*rows, field(2, bytes([3 << 3, 1])), field(3, field(1, b"identity"))])


@publisher("a SentencePiece encoder of tensorflow_text")
def save_sentencepiece(folder: Path) -> None:
    import tensorflow_text

    letters = [(letter, 1) for letter in "abcdefghijklmnopqrstuvwxyz"]
    model = sentencepiece_model(
        [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("\u2581", 1), *letters, ("\u2581cat", 1)]
    )

    class Encoder(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokenizer = tensorflow_text.SentencepieceTokenizer(model)
            values = np.random.default_rng(0).normal(size=(40, 16)).astype(np.float32)
            self.table = tf.Variable(values)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            pieces = self.tokenizer.tokenize(texts)
            return tf.reduce_sum(tf.gather(self.table, pieces), 1)

    tf.saved_model.save(Encoder(), str(folder))


@publisher("two towers, as CLIP", "signature=image_tower,channels=rgb")
def save_towers(folder: Path) -> None:
    module = tf.Module()
    kernel = np.random.default_rng(0).normal(size=(8, 8, 3, 16)).astype(np.float32)

    def image_tower(pixel_values):
        nhwc = tf.transpose(pixel_values, [0, 2, 3, 1])
        seen = tf.reduce_mean(tf.nn.gelu(tf.nn.conv2d(nhwc, kernel, 8, "VALID")), [1, 2])
        return {"image_embeds": tf.nn.l2_normalize(seen, -1)}

    def text_tower(input_ids):
        return {"text_embeds": tf.one_hot(input_ids[:, 0], 16)}

    signatures = {
        "image_tower": tf.function(image_tower).get_concrete_function(
            tf.TensorSpec([None, 3, 32, 32], tf.float32, "pixel_values")
        ),
        "text_tower": tf.function(text_tower).get_concrete_function(
            tf.TensorSpec([None, 77], tf.int32, "input_ids")
        ),
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)


def frames(waveform: Any) -> Any:
    least = tf.maximum(0, 15360 - tf.shape(waveform)[0])
    framed = tf.signal.frame(tf.pad(waveform, [[0, least]]), 15360, 7680)
    spectrum = tf.abs(tf.signal.stft(framed, 400, 160))
    return tf.math.log(tf.reduce_mean(spectrum, 1)[:, :64] + 1e-3)


@publisher("YAMNet's signature", "rate_hz=16000,output=1")
def save_yamnet(folder: Path) -> None:
    class Yamnet(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, waveform):
            seen = frames(waveform)
            return tf.nn.sigmoid(seen[:, :5]), seen, seen[:, :3]

    tf.saved_model.save(Yamnet(), str(folder))


@publisher("VGGish's signature", "rate_hz=16000")
def save_vggish(folder: Path) -> None:
    class Vggish(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32)])
        def __call__(self, waveform):
            return tf.nn.relu(frames(waveform))

    tf.saved_model.save(Vggish(), str(folder))


@publisher("TRILL's signature", "rate_hz=16000,output=embedding")
def save_trill(folder: Path) -> None:
    def call(samples, sample_rate):
        scaled = samples * tf.cast(sample_rate, tf.float32) / 16000
        seen = tf.map_fn(frames, scaled)
        return {"embedding": seen, "layer19": seen[..., :4]}

    specs = (
        tf.TensorSpec([None, None], tf.float32, "samples"),
        tf.TensorSpec([], tf.int32, "sample_rate"),
    )
    function = tf.function(call).get_concrete_function(*specs)
    tf.saved_model.save(tf.Module(), str(folder), signatures={"serving_default": function})


QUICK = ("TF Hub's image modules", "TRILL's signature")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in PUBLISHERS]
)
def test_an_encoder_of_a_publisher_passes_every_door(name: str, tmp_path: Path) -> None:
    save, facts, wanted = PUBLISHERS[name]
    save(tmp_path / "saved")
    pin = pin_encoder(
        str(tmp_path / "saved"), tmp_path / "pinned", Decisions(), facts=facts or None
    )
    is_tuned = wanted.pop("is_tuned", False)
    assert {key: pin.input[key] for key in wanted} == wanted
    assert verify_encoder(tmp_path / "pinned") == pin

    encoder = load_pinned(tmp_path / "pinned", "test")
    samples = encoder.input.samples()
    features = encoder.encode(samples)
    np.testing.assert_allclose(frozen_vectors(encoder, samples), features, rtol=1e-3, atol=1e-4)
    if is_tuned:
        cut = cut_encoder(encoder, "test")
        assert cut.names
        # Attention passes its input around each layer.
        assert cut.cuts or name.startswith(("a BERT", "a vision transformer"))
    count = features.shape[1]
    head = Head(
        np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32) / count,
        np.zeros(2, np.float32),
        ("no", "yes"),
        1.0,
    )
    facts_of_model = {"encoder_digest": encoder.digest}
    write_model(begin_folder(tmp_path / "model", PROVENANCE), encoder, head, facts_of_model)
    finish_folder(tmp_path / "model", "model", MODEL, PROVENANCE)
    logits = features @ head.weights
    exact = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    doors = Doors(tmp_path / "model", tmp_path / "pinned", tmp_path)
    items = [it.decode() for it in samples] if doors.is_text else list(samples)
    sent = items if doors.is_text else [in_base64(it) for it in samples]
    names = {str(number): content for number, content in enumerate(samples)}
    answers = {
        "served": doors.served.answered(doors.served.prepare(samples)),
        "pyfunc": doors.predict(items),
        "serve": doors.entry(*json_body(sent)),
        "MLflow's server": doors.mlflow_server(as_json(sent)),
        "score_batch": [doors.score_batch(names)[name] for name in names],
    }
    for door, answer in answers.items():
        assert not isinstance(answer, str), (door, answer)
        np.testing.assert_allclose(np.stack(answer), exact, atol=1e-4, err_msg=door)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name, (_, _, wanted) in PUBLISHERS.items() if "range" in wanted]
)
def test_a_part_of_a_publishers_encoder_is_tuned(
    name: str, coloured_snapshot: Path, tmp_path: Path
) -> None:
    save, facts, _ = PUBLISHERS[name]
    save(tmp_path / "saved")
    pin_encoder(str(tmp_path / "saved"), tmp_path / "pinned", Decisions(), facts=facts or None)
    encoder = load_pinned(tmp_path / "pinned", "test")
    cut = cut_encoder(encoder, "test")
    before = [variable.numpy() for variable in cut.variables_above(cut.cuts[-1])]

    tuned = fine_tune(
        open_snapshot(coloured_snapshot, "test"),
        cut,
        cut.cuts[-1],
        None,
        TuningOptions(epochs=1),
        tmp_path / "work",
        lambda _: lambda *_: None,
    )

    assert tuned is not None
    assert np.isfinite(tuned.comparison.chosen.log_loss)
    assert len(before) > 0


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_the_stated_command_converts_a_keras_file(suffix: str, tmp_path: Path) -> None:
    import re
    import subprocess
    import sys

    import keras

    from tfhub_blocks.records.base.errors import BlocksError

    layers = [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
    path = tmp_path / f"model.{suffix}"
    keras.Sequential(layers).save(path)
    with pytest.raises(BlocksError) as caught:
        pin_encoder(str(path), tmp_path / "pinned", Decisions())
    command = re.search(r'python -c "([^"]+)"', caught.value.remedy)
    assert command is not None

    subprocess.run([sys.executable, "-c", command[1]], cwd=tmp_path, check=True)

    pin = pin_encoder(str(tmp_path / "saved_model"), tmp_path / "pinned", Decisions())
    assert (pin.loaded_class, pin.output.dimension) == ("keras_export", 144)
