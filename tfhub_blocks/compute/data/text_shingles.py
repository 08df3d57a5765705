"""Shingles of texts: hashes of words and of pairs of words, for many texts at once.

Texts are compared by their shingles (Broder, On the resemblance and containment of documents,
1997). Words are found and hashed in arrays of bytes, because a million texts have a hundred million
words.
"""

# decision 81

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# The part of a text that is compared, about two thousand words.
MOST_BYTES = 2**14
_NOT_WORDS = re.compile(r"\W+")
# Letters of scripts that put no space between words, such as Thai, Khmer, Burmese, Japanese and
# Chinese. Each counts as a word, and two of them as a pair.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U0003ffff])"
)

# Bytes of words in lower case; every other byte becomes zero.
_WORD_BYTES = bytes(
    byte if chr(byte) in "0123456789abcdefghijklmnopqrstuvwxyz_" or byte > 127 else 0
    for byte in (ord(chr(byte).lower()) if byte < 128 else byte for byte in range(256))
)
# Prefix sums of ``byte * _BASE**position`` give the hash of any word as a difference, times a power
# of the inverse of the base, so that the hash does not depend on the position (modulo 2**32).
_BASE = 0x9E3779B1
_INVERSE = pow(_BASE, -1, 2**32)


@dataclass(frozen=True, eq=False)
class Shingles:
    """The shingles of several texts, one text after the other.

    ``words`` has a hash for each word, and ``pairs`` one for each word and the next word; for the
    last word of a text it is the hash of the word. Text ``n`` begins at ``starts[n]``.
    """

    words: NDArray[np.uint32]
    pairs: NDArray[np.uint32]
    starts: NDArray[np.int64]

    def of_each(self) -> list[NDArray[np.uint32]]:
        """Return the different shingles of each text, sorted."""
        ends = [*self.starts[1:].tolist(), len(self.words)]
        spans = [slice(*span) for span in zip(self.starts.tolist(), ends, strict=True)]
        return [np.unique(np.concatenate([self.words[s], self.pairs[s]])) for s in spans]


def shingles(contents: Sequence[bytes]) -> Shingles:
    """Return the shingles of several texts. A text without words has one shingle of its bytes."""
    plain = [each[:MOST_BYTES] if each.isascii() else _plain(each) for each in contents]
    words, starts, counts = _words(plain)
    if not counts.all():
        for number in np.flatnonzero(counts == 0).tolist():
            plain[number] = b"%08x" % zlib.crc32(contents[number])
        words, starts, counts = _words(plain)
    pairs = np.empty_like(words)
    pairs[:-1] = _mixed(words[:-1] * np.uint32(3) + words[1:])
    last = starts + counts - 1
    pairs[last] = words[last]
    return Shingles(words, pairs, starts)


def _words(
    plain: list[bytes],
) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """Return the hashes of all words, and the first word and the number of words of each text."""
    text = np.frombuffer(b"\0".join([*plain, b""]).translate(_WORD_BYTES), np.uint8)
    is_word = text != 0
    # Starts and ends alternate, because the text ends outside of a word.
    edges = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    if is_word[0]:
        edges = np.concatenate([[0], edges])
    starts, ends = edges[::2], edges[1::2]
    powers, inverses = _powers(len(text))
    sums = np.cumsum(np.multiply(text, powers[: len(text)], dtype=np.uint32), dtype=np.uint32)
    before = np.where(starts > 0, sums[starts - 1], np.uint32(0))
    words = _mixed((sums[ends - 1] - before) * inverses[starts])
    lengths = np.fromiter(map(len, plain), np.int64, len(plain)) + 1
    first = np.searchsorted(starts, np.cumsum(lengths) - lengths)
    return words, first, np.diff(first, append=len(words))


def _plain(content: bytes) -> bytes:
    """Return a text of other characters than ASCII in lower case, its words separated by spaces."""
    text = content[:MOST_BYTES].decode("utf-8", "ignore").casefold()
    return _UNSPACED.sub(r" \1 ", _NOT_WORDS.sub(" ", text)).encode()


def _mixed(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return values whose bits all depend on all bits (Ettinger's triple32, shortened)."""
    values = (values ^ (values >> np.uint32(17))) * np.uint32(0xED5AD4BB)
    values = (values ^ (values >> np.uint32(11))) * np.uint32(0xAC4C1B51)
    return values ^ (values >> np.uint32(15))


_POWERS: list[tuple[NDArray[np.uint32], NDArray[np.uint32]]] = []


def _powers(count: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the powers of the base and of its inverse, at least so many."""
    if not _POWERS or len(_POWERS[-1][0]) < count:
        size = 1 << max(count - 1, 2**16).bit_length()
        both = []
        for base in (_BASE, _INVERSE):
            factors = np.full(size, base, np.uint32)
            factors[0] = 1
            both.append(np.multiply.accumulate(factors, dtype=np.uint32))
        _POWERS[:] = [(both[0], both[1])]
    return _POWERS[-1]
