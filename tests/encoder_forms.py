"""The forms of SavedModels that publishers use, with the wanted outcome of each.

All forms of pictures compute the same numbers from the same picture, so their features are equal.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tfhub_blocks.compute.tf.tensorflow_setup import tf

SIDE = 16
DIMENSION = 8
MATRIX = np.random.default_rng(3).normal(size=(SIDE * SIDE * 3, DIMENSION)).astype(np.float32) / 20
TOKENS = ("input_word_ids", "input_mask", "input_type_ids")


@dataclass(frozen=True)
class Form:
    """A form: how it is saved, the facts to pass, and the outcome.

    ``expected`` is what a pin with this form states, or what the message of a refusal contains.
    ``features`` is True if the features are those of ``pictures``, and ``tolerance`` how closely.
    """

    save: Callable[[Path], Path | None]
    outcome: str
    is_taken: bool = True
    facts: str = ""
    expected: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    features: str = ""
    tolerance: float = 1e-5


FORMS: dict[str, Form] = {}


def form(name: str, outcome: str, **options: Any) -> Callable[[Any], Any]:
    def register(save: Callable[[Path], Path | None]) -> Any:
        FORMS[name] = Form(save, outcome, **options)
        return save

    return register


def refused(name: str, message: str, outcome: str, **options: Any) -> Callable[[Any], Any]:
    return form(name, outcome, is_taken=False, message=message, **options)


def numbers(pictures: Any) -> Any:
    """The features of pictures, float32 [n, 16, 16, 3] from 0 to 1, as every form computes them."""
    flat = tf.reshape(pictures, [-1, SIDE * SIDE * 3])
    return tf.tanh(tf.matmul(flat - 0.5, MATRIX))


def save_call(folder: Path, call: Callable[..., Any], *specs: Any, **signatures: Any) -> None:
    class Module(tf.Module):
        @tf.function(input_signature=list(specs))
        def __call__(self, inputs):
            return call(inputs)

    tf.saved_model.save(Module(), str(folder), **signatures)


def save_signatures(
    folder: Path, **functions: tuple[Callable[..., Any], Mapping[str, Any]]
) -> None:
    module = tf.Module()
    saved = {}
    for name, (call, specs) in functions.items():
        named = [tf.TensorSpec(spec.shape, spec.dtype, key) for key, spec in specs.items()]
        saved[name] = tf.function(call).get_concrete_function(*named)
    tf.saved_model.save(module, str(folder), signatures=saved)


def pixels(shape: list[int | None], dtype: Any = tf.float32) -> Any:
    return tf.TensorSpec(shape, dtype)


PLAIN = pixels([None, SIDE, SIDE, 3])
TEXTS = tf.TensorSpec([None], tf.string)
IDS = tf.TensorSpec([None, 8], tf.int32)


def pictures_form(name: str, outcome: str, spec: Any, undo: Callable[[Any], Any], **options: Any):
    def save(folder: Path) -> None:
        save_call(folder, lambda x: numbers(undo(x)), spec)

    FORMS[name] = Form(save, outcome, features="pictures", **options)


pictures_form("pictures, float32", "taken", PLAIN, lambda x: x)
pictures_form(
    "channels first",
    "taken as layout=nchw",
    pixels([None, 3, SIDE, SIDE]),
    lambda x: tf.transpose(x, [0, 2, 3, 1]),
    expected={"layout": "nchw"},
)
pictures_form(
    "channels first, free sides",
    "taken as layout=nchw; pass size_px",
    pixels([None, 3, None, None]),
    lambda x: tf.transpose(x, [0, 2, 3, 1]),
    facts=f"size_px={SIDE}:{SIDE}",
    expected={"layout": "nchw", "size_px": [SIDE, SIDE]},
)
pictures_form(
    "free sides",
    "taken; pass size_px, or it is assumed to be 224:224",
    pixels([None, None, None, 3]),
    lambda x: x,
    facts=f"size_px={SIDE}:{SIDE}",
)
pictures_form(
    "uint8 pixels",
    "taken as dtype=uint8, range=0:255",
    pixels([None, SIDE, SIDE, 3], tf.uint8),
    lambda x: tf.cast(x, tf.float32) / 255,
    expected={"dtype": "uint8", "range": [0.0, 255.0]},
    tolerance=0.01,
)
pictures_form(
    "float16 pixels",
    "taken as dtype=float16",
    pixels([None, SIDE, SIDE, 3], tf.float16),
    lambda x: tf.cast(x, tf.float32),
    expected={"dtype": "float16"},
    tolerance=0.002,
)
pictures_form(
    "bfloat16 pixels",
    "taken as dtype=bfloat16",
    pixels([None, SIDE, SIDE, 3], tf.bfloat16),
    lambda x: tf.cast(x, tf.float32),
    expected={"dtype": "bfloat16"},
    tolerance=0.02,
)
pictures_form(
    "one picture a call",
    "taken as batch=1",
    pixels([1, SIDE, SIDE, 3]),
    lambda x: x,
    expected={"batch": 1},
)
pictures_form(
    "four pictures a call",
    "taken as batch=4",
    pixels([4, SIDE, SIDE, 3]),
    lambda x: x,
    expected={"batch": 4},
)
pictures_form(
    "blue, green, red",
    "taken with channels=bgr",
    PLAIN,
    lambda x: x[..., ::-1],
    facts="channels=bgr",
    expected={"channels": "bgr"},
)
pictures_form(
    "mean and deviation of each channel",
    "taken with mean and deviation",
    PLAIN,
    lambda x: x * [0.2, 0.25, 0.5] + [0.5, 0.4, 0.3],
    facts="mean=0.5:0.4:0.3,deviation=0.2:0.25:0.5",
    expected={"mean": [0.5, 0.4, 0.3], "deviation": [0.2, 0.25, 0.5]},
)
pictures_form(
    "0 to 255, divided by the first layer",
    "taken as range=0:255, read from the graph",
    PLAIN,
    lambda x: x / 255.0,
    expected={"range": [0.0, 255.0]},
)
pictures_form(
    "-1 to 1, by a fact",
    "taken with range=-1:1",
    PLAIN,
    lambda x: tf.minimum((x + 1) / 2, 9.0),
    facts="range=-1:1",
    expected={"range": [-1, 1]},
)


@form(
    "one picture without a dimension for items",
    "taken as batch=-1",
    features="pictures",
    expected={"batch": -1},
)
def save_unbatched(folder: Path) -> None:
    save_call(folder, lambda x: numbers(x[None])[0], pixels([SIDE, SIDE, 3]))


@form("grey pictures", "taken as channels=grey", expected={"channels": "grey"})
def save_grey(folder: Path) -> None:
    save_call(folder, lambda x: numbers(tf.repeat(x, 3, -1)), pixels([None, SIDE, SIDE, 1]))


def decoded(contents: Any) -> Any:
    def one(content: Any) -> Any:
        picture = tf.io.decode_image(content, 3, expand_animations=False)
        picture = tf.image.resize(tf.ensure_shape(picture, [None, None, 3]), [SIDE, SIDE])
        return picture / 255

    return tf.map_fn(one, contents, fn_output_signature=tf.float32)


@form(
    "encoded JPEG or PNG files",
    "taken as encoded=file",
    expected={"encoded": "file", "dtype": "string"},
)
def save_files(folder: Path) -> None:
    save_call(folder, lambda x: numbers(decoded(x)), TEXTS)


@form("files in base64", "taken as encoded=base64", expected={"encoded": "base64"})
def save_base64(folder: Path) -> None:
    save_call(folder, lambda x: numbers(decoded(tf.io.decode_base64(x))), TEXTS)


@form(
    "one encoded file a call",
    "taken as encoded=file, batch=-1",
    expected={"encoded": "file", "batch": -1},
)
def save_one_file(folder: Path) -> None:
    save_call(folder, lambda x: numbers(decoded(x[None]))[0], tf.TensorSpec([], tf.string))


@form(
    "TF1 Hub format, signature image_feature_vector",
    "taken; or by name with signature=image_feature_vector",
    features="pictures",
    facts="signature=image_feature_vector",
)
def save_tf1(folder: Path) -> None:
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        inputs = v1.placeholder(tf.float32, PLAIN.shape, "images")
        outputs = numbers(inputs)
        signatures = {
            name: v1.saved_model.predict_signature_def({"images": inputs}, {"default": value})
            for name, value in (
                ("default", tf.nn.softmax(outputs)),
                ("image_feature_vector", outputs),
            )
        }
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(session, [], signatures)
        builder.save()
    (folder / "tfhub_module.pb").write_bytes(b"\x08\x03")


@form(
    "two towers",
    "taken with signature=NAME",
    facts="signature=image_tower",
    features="pictures",
)
def save_two_towers(folder: Path) -> None:
    save_signatures(
        folder,
        image_tower=(lambda images: {"image_embedding": numbers(images)}, {"images": PLAIN}),
        text_tower=(lambda texts: {"text_embedding": words(texts)}, {"texts": TEXTS}),
    )


refused(
    "two towers, without a fact",
    "has the signatures image_tower, text_tower, and none has a usual name",
    "refused: pass signature=NAME",
)(save_two_towers)


@form(
    "several outputs by name",
    "taken with output=NAME",
    facts="output=features",
    features="pictures",
)
def save_outputs(folder: Path) -> None:
    save_call(folder, lambda x: {"logits": numbers(x) * 2, "features": numbers(x)}, PLAIN)


@form("a version folder of TensorFlow Serving", "taken: the highest version", features="pictures")
def save_versions(folder: Path) -> None:
    save_call(folder / "1", lambda x: numbers(x) * 2, PLAIN)
    save_call(folder / "12", numbers, PLAIN)


@form(
    "an argument is_training",
    "taken as is_training=False",
    features="pictures",
)
def save_is_training(folder: Path) -> None:
    class Module(tf.Module):
        @tf.function
        def __call__(self, inputs, is_training=True):
            given = numbers(inputs)
            return given - tf.reduce_mean(given, 0) if is_training else given

    module = Module()
    for is_training in (True, False):
        module.__call__.get_concrete_function(PLAIN, is_training=is_training)
    tf.saved_model.save(module, str(folder))


@form(
    "a signature with is_training and keep_prob",
    "taken as is_training=False, keep_prob=1",
    features="pictures",
)
def save_switched_signature(folder: Path) -> None:
    def call(images, is_training, keep_prob):
        given = numbers(images)
        kept = tf.nn.dropout(given, 1 - keep_prob)
        return tf.where(is_training, kept - tf.reduce_mean(kept, 0), kept)

    flags = {"is_training": tf.TensorSpec([], tf.bool), "keep_prob": tf.TensorSpec([], tf.float32)}
    save_signatures(folder, serving_default=(call, {"images": PLAIN, **flags}))


@form("a classifier", "taken, with a note that names the layer below")
def save_classifier(folder: Path) -> None:
    weights = np.random.default_rng(1).normal(size=(DIMENSION, 10)).astype(np.float32)
    save_call(folder, lambda x: tf.nn.softmax(tf.matmul(numbers(x), weights)), PLAIN)


def words(texts: Any) -> Any:
    pieces = tf.strings.split(tf.strings.lower(texts))
    hot = tf.one_hot(tf.strings.to_hash_bucket_fast(pieces.values, 64), 64)
    return tf.math.unsorted_segment_sum(hot, pieces.value_rowids(), tf.shape(texts)[0])


@form("texts", "taken", features="texts")
def save_texts(folder: Path) -> None:
    save_call(folder, words, TEXTS)


@form("a column of texts [None, 1]", "taken", features="texts", expected={"shape": [-1, 1]})
def save_column(folder: Path) -> None:
    save_call(folder, lambda x: words(x[:, 0]), tf.TensorSpec([None, 1], tf.string))


@form("one text a call", "taken", features="texts", expected={"shape": []})
def save_one_text(folder: Path) -> None:
    save_call(folder, lambda x: words(x[None])[0], tf.TensorSpec([], tf.string))


def tokens(texts: Any) -> dict[str, Any]:
    codes = tf.strings.unicode_decode(texts, "UTF-8", errors="replace").to_tensor(0)[:, :8]
    codes = tf.pad(codes, [[0, 0], [0, 8 - tf.shape(codes)[1]]])
    codes = tf.ensure_shape(codes, [None, 8])
    mask = tf.cast(codes > 0, tf.int32)
    return dict(zip(TOKENS, (codes, mask, tf.zeros_like(codes)), strict=True))


def of_tokens(ids: Any, mask: Any) -> Any:
    return tf.reduce_sum(tf.one_hot(ids % 16, 16) * tf.cast(mask, tf.float32)[..., None], 1)


def save_bert(folder: Path) -> None:
    def call(input_word_ids, input_mask, input_type_ids):
        return {"pooled_output": of_tokens(input_word_ids, input_mask)}

    save_signatures(folder, serving_default=(call, dict.fromkeys(TOKENS, IDS)))


@form("tokens, with the preprocessor in its folder", "taken", features="tokens")
def save_pair(folder: Path) -> None:
    save_bert(folder)
    save_call(folder / "preprocessor", tokens, TEXTS)


@form("tokens, with the preprocessor beside it", "taken", features="tokens")
def save_neighbours(folder: Path) -> Path:
    save_bert(folder / "bert_en")
    save_call(folder / "bert_en_preprocess", tokens, TEXTS)
    return folder / "bert_en"


@form(
    "tokens by other names and types, with the preprocessor in its folder",
    "taken",
    features="tokens",
)
def save_exported_pair(folder: Path) -> None:
    def call(input_ids, attention_mask):
        return {"embedding": of_tokens(input_ids, attention_mask)}

    wide = tf.TensorSpec([None, 8], tf.int64)
    specs = {"input_ids": wide, "attention_mask": wide}
    save_signatures(folder, serving_default=(call, specs))
    save_call(folder / "preprocessor", tokens, TEXTS)


def heard(waveforms: Any) -> Any:
    """A frame each 400 samples of waveforms [n, samples]."""
    framed = tf.signal.frame(waveforms, 400, 400)
    return tf.stack([tf.reduce_mean(tf.abs(framed), -1), tf.reduce_max(framed, -1)], -1)


@form("waveforms of any length", "taken with rate_hz", facts="rate_hz=16000", features="sounds")
def save_waveform(folder: Path) -> None:
    save_call(folder, lambda x: heard(x[None])[0], tf.TensorSpec([None], tf.float32))


@form("windows", "taken with rate_hz", facts="rate_hz=16000")
def save_windows(folder: Path) -> None:
    save_call(folder, heard, tf.TensorSpec([None, 4000], tf.float32))


@form(
    "one window a call",
    "taken with rate_hz",
    facts="rate_hz=16000",
    expected={"shape": [4000]},
)
def save_one_window(folder: Path) -> None:
    save_call(folder, lambda x: heard(x[None])[0], tf.TensorSpec([4000], tf.float32))


@form(
    "int16 sounds",
    "taken as dtype=int16 with rate_hz",
    facts="rate_hz=16000",
    expected={"dtype": "int16"},
    features="sounds",
    tolerance=1e-3,
)
def save_int16(folder: Path) -> None:
    def call(x: Any) -> Any:
        return heard(tf.cast(x, tf.float32)[None] / 32767)[0]

    save_call(folder, call, tf.TensorSpec([None], tf.int16))


@form(
    "samples with sample_rate",
    "taken with rate_hz, which is passed on",
    facts="rate_hz=16000",
    features="sounds",
)
def save_with_rate(folder: Path) -> None:
    def call(samples, sample_rate):
        # A frame for 25 ms at any rate; the rate has to arrive.
        return heard(samples[None])[0] * tf.cast(sample_rate, tf.float32) / 16000

    specs = {
        "samples": tf.TensorSpec([None], tf.float32),
        "sample_rate": tf.TensorSpec([], tf.int64),
    }
    save_signatures(folder, serving_default=(call, specs))


refused(
    "sounds, without their rate",
    "does not state its rate_hz. Expected the fact rate_hz",
    "refused: pass rate_hz",
)(save_waveform)
refused(
    "tokens without a preprocessor",
    "put the publisher's preprocessor into the folder preprocessor/",
    "refused: put the preprocessor's SavedModel into preprocessor/",
)(save_bert)


@refused(
    "serialized tf.Example records",
    "a string input of serialized tf.Example records",
    "refused: pass signature=NAME of a signature with another input, or export one",
)
def save_examples(folder: Path) -> None:
    def call(records):
        features = {"x": tf.io.FixedLenFeature([4], tf.float32)}
        return tf.io.parse_example(records, features)["x"]

    save_call(folder, call, TEXTS)


@refused(
    "pictures with four channels",
    "inputs float32[None, 16, 16, 4]",
    "refused: save a tf.Module that adds the channel",
)
def save_four_channels(folder: Path) -> None:
    save_call(folder, lambda x: numbers(x[..., :3]), pixels([None, SIDE, SIDE, 4]))


@refused(
    "statistics of the batch",
    "depend on the other items of its batch",
    "refused: the graph has statistics of the batch; save it for inference",
)
def save_batch_mean(folder: Path) -> None:
    def call(x: Any) -> Any:
        given = numbers(x)
        return given - tf.reduce_mean(given, 0)

    save_call(folder, call, PLAIN)


@refused(
    "batch normalisation in training mode",
    "batch normalisation in training mode",
    "refused: save it with training=False",
)
def save_normalised(folder: Path) -> None:
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)

    def call(x: Any) -> Any:
        given, *_ = tf.compat.v1.nn.fused_batch_norm(x, ones, zeros, is_training=True)
        return numbers(given)

    save_call(folder, call, PLAIN)


@refused(
    "dropout that is on",
    "each time it is called; the graph has dropout that is on",
    "refused: save it with training=False",
)
def save_dropout(folder: Path) -> None:
    save_call(folder, lambda x: tf.nn.dropout(numbers(x), 0.5), PLAIN)


@refused(
    "a counter of calls",
    "each time it is called; the graph has variables that each call changes",
    "refused: features depend on earlier calls",
)
def save_counter(folder: Path) -> None:
    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = tf.Variable(0.0)

        @tf.function(input_signature=[PLAIN])
        def __call__(self, inputs):
            return numbers(inputs) + self.calls.assign_add(1.0)

    tf.saved_model.save(Module(), str(folder))


@refused(
    "a text encoder that drops rows",
    "the encoder returns 0 rows for one item, ''",
    "refused: rows must equal items",
)
def save_dropping(folder: Path) -> None:
    def call(texts: Any) -> Any:
        pieces = tf.strings.split(texts)
        hot = tf.one_hot(tf.strings.to_hash_bucket_fast(pieces.values, 64), 64)
        return tf.math.segment_sum(hot, pieces.value_rowids())

    save_call(folder, call, TEXTS)


@refused(
    "a text encoder that joins equal rows",
    "rows for",
    "refused: rows must equal items",
)
def save_joining(folder: Path) -> None:
    save_call(folder, lambda texts: words(tf.unique(texts)[0]), TEXTS)


@refused(
    "features by rank in the batch",
    "depend",
    "refused: features depend on the order or the other items",
)
def save_sorting(folder: Path) -> None:
    save_call(folder, lambda x: tf.sort(numbers(x), axis=0), PLAIN)


@refused(
    "saved for training only",
    "was saved with training=True only",
    "refused: save it with training=False too",
)
def save_for_training(folder: Path) -> None:
    class Module(tf.Module):
        @tf.function
        def __call__(self, inputs, training=True):
            return tf.nn.dropout(numbers(inputs), 0.5) if training else numbers(inputs)

    module = Module()
    module.__call__.get_concrete_function(PLAIN, training=True)
    tf.saved_model.save(module, str(folder))


@refused(
    "an encoder that fails",
    "the encoder fails on sample items of image (InvalidArgumentError: ",
    "refused with the reason of the operation that fails",
)
def save_failing(folder: Path) -> None:
    def call(x: Any) -> Any:
        with tf.control_dependencies([tf.debugging.assert_less(x, -5.0, "pixels below -5")]):
            return numbers(x)

    save_call(folder, call, PLAIN)


@refused(
    "feature maps",
    "output float32[1, 8, 16, 3] for one item, with pooling none",
    "refused: pass pooling=mean, max or mean_std",
)
def save_maps(folder: Path) -> None:
    save_call(folder, lambda x: x[:, ::2], PLAIN)


@refused(
    "a Keras file (model.keras, model.h5)",
    "is a Keras file, which is no SavedModel",
    "refused with the command that converts it",
)
def save_keras_file(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.keras").write_bytes(b"PK")
    return folder / "model.keras"


@refused(
    "a TensorFlow Lite model",
    "is a TensorFlow Lite model, which is no SavedModel",
    "refused: download the SavedModel",
)
def save_lite(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.tflite").write_bytes(b"TFL3")
    return folder
