"""BERT's uncased tokenizer in TensorFlow's own operations, so a SavedModel of it is complete.

The ids are those of ``BertTokenizer`` of https://github.com/huggingface/tokenizers. Text is
cleaned, stripped of accents and lowered character by character, and split at white space and
punctuation. Each word is split into the longest pieces in the vocabulary (Wu et al.,
https://arxiv.org/abs/1609.08144).
"""

import unicodedata
from collections.abc import Sequence
from typing import Any

from tfhub_blocks.compute.tf.tensorflow_setup import tf

# A longer word is unknown as a whole.
MAX_WORD_CHARACTERS = 100
IDEOGRAPHS = (
    r"[\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}"
    r"\x{2B740}-\x{2B81F}\x{2B920}-\x{2CEAF}\x{2F800}-\x{2FA1F}]"
)
REMOVED = r"[\x{0}\x{FFFD}\p{Cc}\p{Cf}\p{Co}]"
KEPT_CONTROLS = "\t\n\r"
TEXTS = tf.TensorSpec([None], tf.string, name="texts")


class WordPiece(tf.Module):  # type: ignore[misc]
    """A module that turns texts, string [n], into BERT's ids, mask and types, int32 [n, length]."""

    def __init__(self, vocabulary: Sequence[str], max_length: int) -> None:
        super().__init__()
        self._max_length = max_length
        self._max_piece = max(len(piece.removeprefix("##")) for piece in vocabulary)
        self._ids = _table(vocabulary, range(len(vocabulary)), tf.int32, -1)
        self._unknown, self._first, self._last = (
            vocabulary.index(piece) for piece in ("[UNK]", "[CLS]", "[SEP]")
        )
        changed = _changed_characters()
        self._characters = _table(list(changed), list(changed.values()), tf.string, "")

    @tf.function(input_signature=[TEXTS])  # type: ignore[untyped-decorator]
    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return ids, mask and types, int32 [n, length of the longest text]."""
        words = self._words(texts)[:, : self._max_length - 2]
        pieces = words.with_values(self._pieces(words.flat_values)).merge_dims(1, 2)
        pieces = pieces[:, : self._max_length - 2]
        rows = tf.fill([pieces.nrows(), 1], 1)
        ids = tf.concat([rows * self._first, pieces, rows * self._last], axis=1)
        dense = ids.to_tensor()
        return {
            "input_word_ids": dense,
            "input_mask": tf.ones_like(ids).to_tensor(),
            "input_type_ids": tf.zeros_like(dense),
        }

    def _words(self, texts: tf.Tensor) -> tf.RaggedTensor:
        for control in KEPT_CONTROLS:
            texts = tf.strings.regex_replace(texts, control, " ")
        texts = tf.strings.regex_replace(texts, REMOVED, "")
        texts = tf.strings.regex_replace(texts, IDEOGRAPHS, r" \0 ")
        characters = tf.strings.unicode_split(texts, "UTF-8", errors="ignore")
        found = self._characters.lookup(characters.flat_values)
        kept = tf.where(found == "", characters.flat_values, found)
        # The table maps removed characters to \1: an empty string means "not in the table".
        kept = tf.strings.regex_replace(kept, r"^\x{1}$", "")
        return tf.strings.split(tf.strings.reduce_join(characters.with_values(kept), axis=-1))

    def _pieces(self, words: tf.Tensor) -> tf.RaggedTensor:
        """Return the ids of each word's pieces, int32 [words, (pieces)]."""
        characters = tf.strings.unicode_split(words, "UTF-8")
        sizes = tf.cast(characters.row_lengths(), tf.int32)
        is_long = sizes > MAX_WORD_CHARACTERS
        dense = characters[:, :MAX_WORD_CHARACTERS].to_tensor("")
        ids, lengths = self._longest(dense, tf.minimum(sizes, MAX_WORD_CHARACTERS))
        width = tf.maximum(tf.shape(dense)[1], 1)  # the texts may contain no word
        step, position = tf.constant(0), tf.zeros_like(sizes)
        found = tf.TensorArray(tf.int32, size=width, element_shape=[None])

        def more(step: Any, position: Any, found: Any) -> Any:  # noqa: ARG001
            return step < width

        def walk(step: Any, position: Any, found: Any) -> Any:
            is_inside = position < sizes
            at = tf.minimum(position, width - 1)
            length = tf.gather(lengths, at, batch_dims=1)
            piece = tf.where(length > 0, tf.gather(ids, at, batch_dims=1), self._unknown)
            found = found.write(step, tf.where(is_inside, piece, -1))
            # If no piece matches, the word is unknown and its walk ends.
            return step + 1, position + tf.where(length > 0, length, width), found

        _, _, found = tf.while_loop(more, walk, (step, position, found))
        pieces = tf.transpose(found.stack())
        is_unknown = is_long | tf.reduce_any(pieces == self._unknown, axis=1)
        first = tf.one_hot(0, width, True, False, dtype=tf.bool)
        alone = tf.where(first, self._unknown, -1)
        pieces = tf.where(is_unknown[:, None], alone[None], pieces)
        return tf.ragged.boolean_mask(pieces, pieces >= 0)

    def _longest(self, characters: tf.Tensor, sizes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return id and length of the longest piece that starts at each character.

        Both are int32 [words, width].
        """
        width = tf.shape(characters)[1]
        inside = tf.sequence_mask(sizes, width)
        prefix = tf.broadcast_to(tf.where(tf.range(width) > 0, "##", ""), tf.shape(characters))
        ids = tf.fill(tf.shape(characters), -1)
        lengths = tf.zeros_like(ids)
        pieces = tf.fill(tf.shape(characters), "")
        for length in range(1, self._max_piece + 1):
            following = tf.pad(characters, [[0, 0], [0, length]], constant_values="")[
                :, length - 1 :
            ]
            pieces = tf.strings.join([pieces, following[:, :width]])
            fits = inside & (tf.range(width) + length <= sizes[:, None])
            found = tf.where(fits, self._ids.lookup(tf.strings.join([prefix, pieces])), -1)
            ids = tf.where(found >= 0, found, ids)
            lengths = tf.where(found >= 0, length, lengths)
        return ids, lengths


def _changed_characters() -> dict[str, str]:
    """Return the replacement of each character that normalization changes."""
    changed = {}
    for code in range(0x110000):
        character = chr(code)
        if 0xD800 <= code < 0xE000 or unicodedata.category(character) in ("Cn", "Co"):
            continue
        becomes = _normalized(character)
        if becomes != character:
            changed[character] = becomes or "\1"
    return changed


def _normalized(character: str) -> str:
    if character.isspace():
        return " "
    decomposed = unicodedata.normalize("NFD", character)
    bare = "".join(c for c in decomposed if unicodedata.category(c) != "Mn").lower()
    return "".join(f" {c} " if _is_punctuation(c) else c for c in bare)


def _is_punctuation(character: str) -> bool:
    is_ascii_symbol = character.isascii() and character.isprintable() and not character.isalnum()
    return (is_ascii_symbol and character != " ") or unicodedata.category(character)[0] == "P"


def _table(keys: Any, values: Any, kind: Any, default: Any) -> Any:
    initializer = tf.lookup.KeyValueTensorInitializer(
        tf.constant(list(keys)), tf.constant(list(values), kind)
    )
    return tf.lookup.StaticHashTable(initializer, default)
