"""Near duplicates: different contents that show the same thing, found before training.

Signatures are computed while contents are read, and are in files. Pairs of items are found by
signatures that share a part, and each pair is confirmed. Memory contains a few numbers for each
item.
"""

# decision 81

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tfhub_blocks.compute.data.fingerprints import Fingerprint
from tfhub_blocks.compute.data.text_shingles import shingles

Pairs = NDArray[np.int64]
Contents = Callable[[int], bytes]

# Texts
LEAST_JACCARD = 0.75
MIN_HASHES, HASHES_PER_BAND = 24, 3
BANDS = MIN_HASHES // HASHES_PER_BAND
TEXTS_AT_ONCE, PAIRS_AT_ONCE = 256, 256

# Images and sounds
LEAST_CORRELATION = 0.9
MOST_BITS = 16
TABLES = 24

# In a bucket of equal keys, an item is compared with this many others: buckets of texts contain few
# that are not near, and each pair takes memory.
TEXT_NEIGHBOURS, NEIGHBOURS = 4, 16
# A larger group consists of items from one template, and not of copies.
MOST_IN_GROUP, LARGEST_SHARE = 10, 0.1

_random = np.random.default_rng(1)
_FACTORS = _random.integers(0, 2**32, MIN_HASHES, np.uint32) | np.uint32(1)


class Signatures:
    """The signatures of items, added in the order in which the items are read.

    Items of the modality ``bytes`` have no near duplicates. Example::

        with Signatures("text", folder) as signatures:
            signatures.add(content, None)
            pairs = signatures.pairs(np.arange(1), lambda number: content)

    Args:
        modality: The modality of the items.
        folder: A folder for the files, which are removed at the end.
    """

    def __init__(self, modality: str, folder: Path) -> None:
        self.modality = modality
        self._paths = [folder / f"signatures.{number}" for number in range(BANDS)]
        self._files: list[BinaryIO] = [path.open("wb") for path in self._paths]
        self._texts: list[bytes] = []
        self._count = self._width = 0
        self._known = bytearray()

    def add(self, content: bytes, mark: Fingerprint | None) -> None:
        """Add the next item: a text by its content, any other item by its fingerprint."""
        if self.modality == "text":
            self._texts.append(content)
            if len(self._texts) == TEXTS_AT_ONCE:
                self._write_bands()
            return
        self._known.append(mark is not None)
        if mark is not None:
            self._width = len(mark.vector)
            self._files[0].write(mark.bits.to_bytes(8, "little"))
            self._files[1].write(mark.vector.tobytes())

    def extend(self, contents: list[bytes]) -> None:
        """Add the next texts."""
        self._texts += contents
        while len(self._texts) >= TEXTS_AT_ONCE:
            self._write_bands()

    def pairs(self, items: NDArray[np.integer], contents: Contents) -> Pairs:
        """Return pairs of near duplicates, [pairs, 2], the lower number first.

        Numbers are positions in ``items``. Equal contents in equal order give equal pairs. Pairs
        connect groups: not every pair of a large group is returned.

        Args:
            items: The number of each item in the order of adding.
            contents: Returns the content of an item by its position in ``items``.
        """
        while self._texts:
            self._write_bands()
        for file in self._files:
            file.flush()
        if self.modality == "text":
            return self._text_pairs(items, contents)
        return self._fingerprint_pairs(items)

    def _text_pairs(self, items: NDArray[np.integer], contents: Contents) -> Pairs:
        keys = (np.fromfile(path, np.uint64)[items] for path in self._paths)
        return _confirmed(keys, len(items), _nearness_of_texts(contents), TEXT_NEIGHBOURS)

    def _fingerprint_pairs(self, items: NDArray[np.integer]) -> Pairs:
        is_known = np.frombuffer(self._known, bool)
        if not is_known.any():
            return np.empty((0, 2), np.int64)
        row = np.cumsum(is_known) - 1
        numbers = np.flatnonzero(is_known[items])
        rows = row[items[numbers]]
        bits = np.fromfile(self._paths[0], np.uint64)[rows]
        stored = np.memmap(self._paths[1], np.float16, "r").reshape(-1, self._width)

        def are_near(pairs: Pairs) -> NDArray[np.bool_]:
            products = stored[rows[pairs[:, 0]]].astype(np.float32) * stored[rows[pairs[:, 1]]]
            near: NDArray[np.bool_] = products.sum(axis=1) >= LEAST_CORRELATION
            return near

        pairs = _confirmed(_bit_samples(bits), len(rows), are_near, NEIGHBOURS)
        return np.sort(numbers[pairs], axis=1)

    def _write_bands(self) -> None:
        """Write a key for each band of min-hashes: texts that share one may be near duplicates."""
        texts = self._texts[:TEXTS_AT_ONCE]
        self._texts = self._texts[TEXTS_AT_ONCE:]
        found = shingles(texts)
        buffer = np.empty_like(found.words)
        signature = np.empty((MIN_HASHES, len(texts)), np.uint32)
        for index, factor in enumerate(_FACTORS):
            least = np.minimum.reduceat(np.multiply(found.words, factor, out=buffer), found.starts)
            other = np.minimum.reduceat(np.multiply(found.pairs, factor, out=buffer), found.starts)
            signature[index] = np.minimum(least, other)
        rows = signature.astype(np.uint64).reshape(BANDS, HASHES_PER_BAND, -1)
        key = rows[:, 0].copy()
        for row in range(1, HASHES_PER_BAND):
            key = (key * np.uint64(0x9E3779B97F4A7C15)) ^ rows[:, row]
        for file, band in zip(self._files, key, strict=True):
            file.write(band.tobytes())

    def __enter__(self) -> "Signatures":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file, path in zip(self._files, self._paths, strict=True):
            file.close()
            path.unlink()


def groups_of(pairs: Pairs, count: int) -> NDArray[np.int64]:
    """Return the group of each item, [count]: items that pairs connect are in one group."""
    links = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (count, count))
    groups: NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
    return groups


def without_templates(pairs: Pairs, count: int) -> tuple[Pairs, int]:
    """Return the pairs outside of groups that are too large, and the items of these groups.

    Items that were written from one template, or drawn in one style, are similar in chains. A group
    of more than ten items and a tenth of all is such a chain.
    """
    groups = groups_of(pairs, count)
    sizes = np.bincount(groups, minlength=1)
    is_large = sizes > max(MOST_IN_GROUP, LARGEST_SHARE * count)
    return pairs[~is_large[groups[pairs[:, 0]]]], int(sizes[is_large].sum())


def _nearness_of_texts(contents: Contents) -> Callable[[Pairs], NDArray[np.bool_]]:
    """Return the function that compares pairs of texts by their shingles."""

    def are_near(pairs: Pairs) -> NDArray[np.bool_]:
        near = np.zeros(len(pairs), bool)
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            part = pairs[start : start + PAIRS_AT_ONCE]
            numbers, place = np.unique(part, return_inverse=True)
            parts = shingles([contents(number) for number in numbers.tolist()]).of_each()
            for index, (one, other) in enumerate(place.reshape(-1, 2).tolist()):
                shared = len(np.intersect1d(parts[one], parts[other], assume_unique=True))
                every = len(parts[one]) + len(parts[other]) - shared
                near[start + index] = shared >= LEAST_JACCARD * every
        return near

    return are_near


def _bit_samples(bits: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    """Yield keys of some bits each, so that similar fingerprints share a key (bit sampling LSH)."""
    width = int(np.clip(np.log2(max(len(bits), 1)), 8, MOST_BITS))
    random = np.random.default_rng(2)
    for _ in range(TABLES):
        mask = sum(1 << int(bit) for bit in random.choice(64, width, replace=False))
        yield bits & np.uint64(mask)


def _confirmed(
    tables: Iterable[NDArray[np.uint64]],
    count: int,
    are_near: Callable[[Pairs], NDArray[np.bool_]],
    neighbours: int,
) -> Pairs:
    """Return pairs that share a key in some table and are near, sorted.

    Pairs of items that earlier pairs connect already are left out.
    """
    found = [np.empty((0, 2), np.int64)]
    groups = np.arange(count)
    for keys in tables:
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        is_new = False
        for distance in range(1, neighbours + 1):
            same = np.flatnonzero(ordered[distance:] == ordered[:-distance])
            if not same.size:
                break
            pairs = np.sort(np.stack([order[same], order[same + distance]], axis=1), axis=1)
            pairs = pairs[groups[pairs[:, 0]] != groups[pairs[:, 1]]]
            if len(pairs) and len(near := pairs[are_near(pairs)]):
                found.append(near)
                is_new = True
        if is_new:
            groups = groups_of(np.concatenate(found), count)
    return np.unique(np.concatenate(found), axis=0).astype(np.int64)
