"""What a pin says of encoders of all modalities, and what is refused, with its message."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from frozen import frozen_vectors

from tfhub_blocks.compute.encoders.encoder import Encoder, load_encoder
from tfhub_blocks.compute.encoders.encoder_facts import parse_facts
from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model
from tfhub_blocks.compute.modalities.texts import Texts
from tfhub_blocks.compute.tf import operations
from tfhub_blocks.compute.tf.tensorflow_setup import saved_model_pb2, tf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.pins import pins
from tfhub_blocks.records.pins.pins import EncoderOutput, read_pin

PROVENANCE = Provenance("test", {}, (), "0" * 64, "0" * 64, "", "")
WAVEFORM = tf.TensorSpec([None], tf.float32)
IMAGES = tf.TensorSpec([None, 32, 32, 3], tf.float32)


def save(folder: Path, call, spec) -> Path:
    class Module(tf.Module):
        @tf.function(input_signature=[spec])
        def __call__(self, inputs):
            return call(inputs)

    tf.saved_model.save(Module(), str(folder))
    return folder


def pinned(saved: Path, folder: Path, facts: str | None = None) -> Encoder:
    partial = begin_folder(folder, PROVENANCE)
    import_saved_model(ImportRequest(str(saved), None, None, "accept", facts), partial)
    finish_folder(folder, "encoder", pins.FORMAT, PROVENANCE)
    return load_encoder(folder, "test")


def refusal(saved: Path, folder: Path, facts: str | None = None) -> str:
    with pytest.raises(BlocksError) as caught:
        pinned(saved, folder, facts)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def frames(waveform: Any) -> tuple[Any, Any]:
    """Scores and embeddings, a frame each 1000 samples, from one waveform: the shape of YAMNet."""
    framed = tf.signal.frame(waveform, 1000, 1000, pad_end=True)
    moments = tf.stack([tf.reduce_mean(framed, 1), tf.reduce_max(framed, 1)], axis=1)
    return framed[:, :5], moments


def statistics(images: Any) -> Any:
    return tf.concat([tf.reduce_mean(images, [1, 2]), tf.reduce_max(images, [1, 2])], axis=1)


def test_a_waveform_of_any_length_and_the_second_of_two_outputs(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", frames, WAVEFORM)

    encoder = pinned(saved, tmp_path / "encoder", "rate_hz=16000, output=1, pooling=max")

    assert encoder.pin.modality == "audio"
    assert encoder.pin.input == {"shape": [-1], "rate_hz": 16000, "dtype": "float32"}
    assert encoder.pin.output == EncoderOutput(2, "1", "max")
    samples = encoder.input.samples()
    vectors = encoder.encode(samples)
    for vector, sample in zip(vectors, samples, strict=True):
        waveform = np.frombuffer(encoder.input.decode(sample), "<f4")
        assert vector[1] == pytest.approx(waveform.max(), abs=1e-6)
    np.testing.assert_array_equal(frozen_vectors(encoder, samples), vectors)


def test_a_preprocessor_beside_the_encoder_feeds_it_a_dictionary(tmp_path: Path) -> None:
    def tokens(texts):
        codes = tf.strings.unicode_decode(texts, "UTF-8").to_tensor(0)[:, :9]
        return {"codes": codes, "mask": tf.cast(codes > 0, tf.int32)}

    class Bag(tf.Module):
        @tf.function
        def __call__(self, inputs, training=None):
            kept = (
                tf.one_hot(inputs["codes"] % 8, 8) * tf.cast(inputs["mask"], tf.float32)[..., None]
            )
            return {"sequence_output": kept, "pooled_output": tf.reduce_sum(kept, 1)}

    bag = Bag()
    ids = tf.TensorSpec([None, None], tf.int32)
    bag.__call__.get_concrete_function({"codes": ids, "mask": ids}, training=False)
    tf.saved_model.save(bag, str(tmp_path / "saved"))
    save(tmp_path / "saved/preprocessor", tokens, tf.TensorSpec([None], tf.string))

    encoder = pinned(tmp_path / "saved", tmp_path / "encoder")

    assert encoder.pin.modality == "text"
    assert encoder.pin.output == EncoderOutput(8, "pooled_output")
    assert "preprocessor/saved_model.pb" in encoder.pin.files
    texts = ["", "\0", "ab", "🙂" * 100_000]
    counts = encoder.encode([text.encode() for text in texts]).tolist()
    assert counts[:2] == [[0] * 8] * 2
    assert [sum(row) for row in counts] == [0, 0, 2, 9]


def test_frame_outputs_of_images_are_pooled_if_that_is_told(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", lambda x: x[:, ::2, ::2], IMAGES)

    message = refusal(saved, tmp_path / "refused")
    assert "output float32[1, 16, 16, 3] for one item, with pooling none" in message
    encoder = pinned(saved, tmp_path / "encoder", "pooling=mean_std, range=0:255")

    assert encoder.pin.output == EncoderOutput(6, None, "mean_std")
    pixels = encoder.prepare(encoder.input.samples())[:, ::2, ::2]
    expected = np.concatenate([pixels.mean((1, 2)), pixels.std((1, 2))], axis=1)
    np.testing.assert_allclose(encoder.encode(encoder.input.samples()), expected, atol=1e-2)


@pytest.mark.parametrize(
    ("call", "spec", "facts", "message"),
    [
        (
            frames,
            WAVEFORM,
            None,
            "rate_hz, output] this SavedModel takes audio, but does not state its rate_hz; and "
            "this SavedModel has several outputs (0 float32[None, 5], 1 float32[None, 2]), and "
            "none has a usual name. Expected the facts rate_hz and output. Pass the facts rate_hz "
            "and output: rate_hz=VALUE",
        ),
        (
            frames,
            WAVEFORM,
            "rate_hz=16000",
            "outputs (0 float32[None, 5], 1 float32[None, 2]), and",
        ),
        (
            frames,
            WAVEFORM,
            "rate_hz=16000,output=2",
            "output] this SavedModel has no output '2'. Expected",
        ),
        (
            frames,
            WAVEFORM,
            "rate_hz=16",
            "input.rate_hz] 16 is out of range. Expected 1000 to 384000",
        ),
        (
            frames,
            WAVEFORM,
            "rate_hz=16k",
            "input.rate_hz] input.rate_hz is '16k'. Expected an integer",
        ),
        (
            statistics,
            IMAGES,
            "range=1:0",
            "input.range] [1.0, 0.0] is an empty range. Expected [lowest",
        ),
        (statistics, IMAGES, "range=255", "input.range] input.range is 255. Expected a list"),
        (
            statistics,
            IMAGES,
            "size_px=64:64",
            "size_px] the fact size_px is [64, 64]. Expected [32, 32]",
        ),
        (
            statistics,
            IMAGES,
            "rnage=0:1",
            "rnage] rnage is no fact of image. Expected one of size",
        ),
        (
            statistics,
            IMAGES,
            "output=default",
            "output] this SavedModel has no output 'default'. Expected ",
        ),
        (
            statistics,
            IMAGES,
            "pooling=sum",
            "pooling] 'sum' is no pooling. Expected one of none, mean,",
        ),
        (
            statistics,
            IMAGES,
            "range",
            "range] 'range' has no name or no value. Expected NAME=VALUE",
        ),
        (
            lambda x: tf.reduce_mean(x, [1]),
            tf.TensorSpec([None, 5, 7], tf.float32),
            None,
            "serve as an encoder: it has inputs float32[None, 5, 7]. Expected an input of im",
        ),
        (
            lambda x: statistics(x) / 0.0,
            IMAGES,
            None,
            "features that are NaN or infinite for sample",
        ),
        (
            lambda x: tf.ensure_shape(statistics(x), [7, None]),
            IMAGES,
            None,
            "the encoder fails on sample items of image (InvalidArgumentError",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(call, spec, facts, message, tmp_path: Path) -> None:
    saved = save(tmp_path / "saved", call, spec)
    assert message in refusal(saved, tmp_path / "encoder", facts)


def rename_operation(saved: Path, old: str, new: str) -> None:
    path = saved / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for function in model.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            node.op = new if node.op == old else node.op
    path.write_bytes(model.SerializeToString())


def lowered(texts: Any) -> Any:
    return tf.one_hot(tf.strings.to_hash_bucket_fast(tf.strings.lower(texts), 4), 4)


def test_an_operation_that_no_package_has_is_named_before_anything_is_loaded(
    tmp_path: Path,
) -> None:
    saved = save(tmp_path / "saved", lowered, tf.TensorSpec([None], tf.string))
    rename_operation(saved, "StringLower", "LowerAsNobodyDoes")

    message = refusal(saved, tmp_path / "encoder")

    assert "LowerAsNobodyDoes in function __inference___call___" in message
    assert "is not on the list of operations that compute" in message
    message = refusal(saved, tmp_path / "allowed", "allow_op=LowerAsNobodyDoes")
    assert "has no operation LowerAsNobodyDoes. Expected operations of TensorFlow, or" in message
    assert "Add tensorflow-text==2.21.* to the environment's requirements.in" in message


def test_an_operation_of_tensorflow_text_works_and_its_package_is_pinned(tmp_path: Path) -> None:
    import tensorflow_text

    saved = save(
        tmp_path / "saved",
        lambda texts: lowered(tensorflow_text.normalize_utf8(texts, "NFKC")),
        tf.TensorSpec([None], tf.string),
    )

    encoder = pinned(saved, tmp_path / "encoder")

    assert "NormalizeUTF8" in encoder.pin.operations.used
    assert encoder.pin.operations.packages == ("tensorflow_text",)
    one, other = encoder.encode(["ﬁne".encode(), b"fine"]).tolist()
    assert one == other


def test_a_package_that_a_pin_needs_and_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    with pytest.raises(BlocksError, match=r"operations\] tensorflow_text is not installed, and"):
        operations.import_packages(["tensorflow_text"], "test")


def test_a_runtime_that_computes_something_else_is_noticed_when_an_encoder_is_loaded(
    imported_encoder: Path, tmp_path: Path
) -> None:
    """As if TensorFlow had changed: the golden outputs of the pin are those of another one."""
    pin = read_pin(imported_encoder / "encoder.toml")
    for factor, is_close in [(1.005, True), (1.05, False)]:
        partial = begin_folder(tmp_path / str(factor), PROVENANCE)
        import_saved_model(ImportRequest(str(imported_encoder), None, None, "refuse"), partial)
        text = (partial / "encoder.toml").read_text()
        for value in {value for row in pin.golden.values for value in row}:
            text = text.replace(f" {value!r},", f" {value * factor!r},")
        (partial / "encoder.toml").write_text(text)
        finish_folder(tmp_path / str(factor), "encoder", pins.FORMAT, PROVENANCE)
        if is_close:
            load_encoder(tmp_path / str(factor), "test")
            continue
        with pytest.raises(BlocksError, match=r"golden outputs\] .* differ by 0.048. Expected"):
            load_encoder(tmp_path / str(factor), "test")


@pytest.mark.parametrize(
    ("name", "text", "licence"),
    [
        ("LICENSE", "Apache License\n   Version 2.0, January 2004", "Apache-2.0"),
        (
            "LICENCE.txt",
            "Ours\nPermission is hereby granted, free of\ncharge, to any person",
            "MIT",
        ),
        ("COPYING", "\n  For Ada alone.\n", "For Ada alone."),
        ("licenses", "Apache License, Version 2.0", "unknown"),
        ("LICENSE", "", "unknown"),
    ],
)
def test_the_licence_is_what_is_found_and_told_one_wins(name, text, licence, tmp_path) -> None:
    saved = save(tmp_path / "saved", lowered, tf.TensorSpec([None], tf.string))
    (saved / name).write_text(text)

    assert pinned(saved, tmp_path / "a").pin.licence == licence
    assert pinned(saved, tmp_path / "b", "licence=CC0-1.0").pin.licence == "CC0-1.0"


def test_facts_are_numbers_words_and_pairs() -> None:
    told = parse_facts(" size_px=96:64,range=-1:1.5 , output = default,,rate_hz=16000")
    assert told == {
        "size_px": [96, 64],
        "range": [-1, 1.5],
        "output": "default",
        "rate_hz": 16000,
    }
    assert parse_facts(None) == {}
    assert parse_facts("allow_op=A:B,output=x,allow_op=B:C,output=x") == {
        "allow_op": ["A", "B", "C"],
        "output": "x",
    }
    with pytest.raises(BlocksError, match=r"range\] the fact range is \[0, 1\] and \[0, 255\]"):
        parse_facts("range=0:1,range=0:255")


def test_an_encoder_need_not_take_an_empty_text_to_be_pinned() -> None:
    assert b"" not in Texts.samples()
