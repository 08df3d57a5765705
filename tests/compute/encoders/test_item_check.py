"""Features and answers must depend on one item: of samples, of real items, and in a saved model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tfhub_blocks.compute.encoders.encoder import load_encoder
from tfhub_blocks.compute.encoders.item_check import item_fault
from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.inference.computations import Computation
from tfhub_blocks.compute.inference.engine_selection import take_sample
from tfhub_blocks.compute.modalities.texts import Texts
from tfhub_blocks.compute.models.model_writing import write_model
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError

ITEMS = [b"a", b"bb", b"ccc"]


def lengths(contents) -> np.ndarray:
    return np.array([[len(content), 1.0] for content in contents])


class Counted:
    """An encoder whose first call is another than the later ones."""

    def __init__(self, first: int) -> None:
        self.calls, self.first = 0, first

    def __call__(self, contents) -> np.ndarray:
        self.calls += 1
        return lengths(contents) + (self.calls <= self.first)


def only_together(contents) -> np.ndarray:
    return lengths(contents) * (1 if len(contents) == 3 else 1.01)


def by_position(contents) -> np.ndarray:
    return lengths(contents) + np.arange(len(contents))[:, None] * (len(contents) == 3)


FAULTS = {
    "rows are missing": (lambda it: lengths(it)[:-1], "returns 2 rows for 3 items"),
    "the first call is another": (Counted(1), "gives other features for item 0 each time"),
    "company": (only_together, "the features of item 0 depend on the other items of its batch"),
    "batches of seven": (
        lambda it: lengths(it) * (2 if len(it) > 3 else 1),
        "together with 2 others they differ from a batch of 7",
    ),
    "position": (by_position, "the features of item 1 depend on the other items of its batch"),
    "order": (lambda it: np.sort(lengths(it), 0), "the features of item 0 depend"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_encoder_that_mixes_items_is_found(name: str) -> None:
    encode, expected = FAULTS[name]
    fault = item_fault(encode, ITEMS)
    if name == "order":  # sorted already, so only the reverse order shows it
        assert fault is not None
    else:
        assert expected in str(fault)


def test_rounding_and_refused_edges_are_no_fault() -> None:
    def rounded(contents) -> np.ndarray:
        if b"" in contents:
            raise ValueError("no empty text")
        return lengths(contents) * (1 + 1e-6 * len(contents))

    assert item_fault(rounded, ITEMS, [b"", b" "]) is None
    assert item_fault(lambda it: np.full((len(it), 2), np.nan), ITEMS) is None
    dropping = lambda it: lengths([each for each in it if each])  # noqa: E731
    assert "returns 0 rows for one item, ''" in str(item_fault(dropping, ITEMS, [b""]))


def computation(call: Any) -> Computation:
    texts = Texts()
    forward = tf.function(call).get_concrete_function(texts.spec(4))
    return Computation("a_step", texts, texts.prepare, forward, 4, 2, ())


def of_texts(texts: Any) -> Any:
    sizes = tf.cast(tf.strings.length(texts), tf.float32)
    return tf.stack([sizes, sizes * 2], 1)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (
            lambda it: of_texts(it) - tf.reduce_mean(of_texts(it), 0),
            "depends on the other items of its batch",
        ),
        (lambda it: of_texts(it) * tf.random.uniform([]), "is another at each call"),
        (
            lambda it: of_texts(it) + tf.range(4.0)[:, None],
            "depends on the order of its batch",
        ),
    ],
)
def test_real_items_are_checked_before_vectors_are_computed(call: Any, problem: str) -> None:
    items = [(f"id{number}", b"x" * (number + 1)) for number in range(5)]
    take_sample(computation(of_texts), items)
    with pytest.raises(BlocksError, match=rf"a_step > encoder\] the vector of item id\d {problem}"):
        take_sample(computation(call), items)


def test_a_model_whose_answers_mix_items_is_not_written(
    imported_encoder: Path, tmp_path: Path
) -> None:
    encoder = load_encoder(imported_encoder, "test")
    mixing = SimpleNamespace(
        input=encoder.input,
        pin=encoder.pin,
        name=encoder.name,
        loaded=encoder.loaded,
        prepare=encoder.prepare,
        features=lambda x: encoder.features(x) - tf.reduce_mean(encoder.features(x), 0),
    )
    weights = np.random.default_rng(0).normal(size=(24, 2)).astype(np.float32) * 9
    head = Head(weights, np.zeros(2, np.float32), ("a", "b"), 1.0)
    given: Any = mixing
    with pytest.raises(BlocksError, match="the probabilities of item 0 depend on the other items"):
        write_model(tmp_path / "model", given, head, {})
