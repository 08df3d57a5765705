"""Near duplicates: different contents that show the same thing, found before training.

The functions take items and return pairs, so a snapshot, an inspection and a test use the same
ones. Signatures are in files; memory contains a few numbers for each item.
"""

# decision 81

import re
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tfhub_blocks.compute.data.fingerprints import fingerprint

Pairs = NDArray[np.int64]

# Texts
LEAST_JACCARD = 0.75
MIN_HASHES, HASHES_PER_BAND = 24, 3
TEXTS_AT_ONCE = 2048
MOST_SHINGLES = 2000
_WORDS = re.compile(r"\w+")

# Images and sounds
LEAST_CORRELATION = 0.9
MOST_BITS = 16
TABLES = 24

# In a bucket of equal keys, an item is compared with this many others: buckets of texts contain few
# that are not near, and each pair takes memory.
TEXT_NEIGHBOURS, NEIGHBOURS = 4, 16
# A larger group consists of items from one template, and not of copies.
MOST_IN_GROUP, LARGEST_SHARE = 10, 0.1


def near_duplicate_pairs(
    contents: Callable[[int], bytes], count: int, modality: str, folder: Path
) -> Pairs:
    """Return pairs of near duplicates, [pairs, 2], as numbers of items, the lower number first.

    Equal contents in equal order give equal pairs. Pairs connect groups: not every pair of a large
    group is returned. Items of the modality ``bytes`` have no near duplicates.

    Args:
        contents: Returns the content of an item by its number.
        count: The number of items.
        modality: The modality of the items.
        folder: A folder for signatures, which are removed at the end.
    """
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        if modality == "text":
            return _text_pairs(contents, count, Path(temporary))
        if modality in ("image", "audio"):
            return _fingerprint_pairs(contents, count, modality, Path(temporary))
    return np.empty((0, 2), np.int64)


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


def _text_pairs(contents: Callable[[int], bytes], count: int, folder: Path) -> Pairs:
    bands = MIN_HASHES // HASHES_PER_BAND
    keys = np.memmap(folder / "keys", np.uint64, "w+", shape=(bands, max(count, 1)))
    random = np.random.default_rng(1)
    factors = random.integers(1, 2**63, MIN_HASHES).astype(np.uint64) * np.uint64(2) + np.uint64(1)
    for start in range(0, count, TEXTS_AT_ONCE):
        numbers = range(start, min(start + TEXTS_AT_ONCE, count))
        found = [_shingles(contents(number)) for number in numbers]
        starts = np.cumsum([0, *(len(each) for each in found[:-1])])
        signature = np.empty((MIN_HASHES, len(numbers)), np.uint64)
        shingles = np.concatenate(found)
        for index, factor in enumerate(factors):
            mixed = shingles * factor
            signature[index] = np.minimum.reduceat(mixed ^ (mixed >> np.uint64(29)), starts)
        rows = signature.reshape(bands, HASHES_PER_BAND, -1)
        key = rows[:, 0].copy()
        for row in range(1, HASHES_PER_BAND):
            key = (key * np.uint64(0x9E3779B97F4A7C15)) ^ rows[:, row]
        keys[:, start : numbers.stop] = key

    def is_near(one: int, other: int) -> bool:
        first, second = (set(_shingles(contents(number)).tolist()) for number in (one, other))
        return len(first & second) >= LEAST_JACCARD * len(first | second)

    return _confirmed(
        (np.asarray(keys[band, :count]) for band in range(bands)),
        lambda pairs: np.array([is_near(*pair) for pair in pairs.tolist()], bool),
        TEXT_NEIGHBOURS,
    )


def _shingles(content: bytes) -> NDArray[np.uint64]:
    """Return hashes of a text's words and of its pairs of words, each once."""
    words = _WORDS.findall(content.decode("utf-8", "replace").casefold())[:MOST_SHINGLES]
    if not words:
        return np.array([zlib.crc32(content)], np.uint64)
    parts = {zlib.crc32(word.encode()) for word in words}
    parts.update(zlib.crc32(f"{one} {other}".encode()) for one, other in pairwise(words))
    return np.fromiter(parts, np.uint64, len(parts))


def _fingerprint_pairs(
    contents: Callable[[int], bytes], count: int, modality: str, folder: Path
) -> Pairs:
    bits, numbers = np.empty(count, np.uint64), np.empty(count, np.int64)
    vectors: np.memmap[tuple[int, int], np.dtype[np.float16]] | None = None
    known = 0
    for number in range(count):
        found = fingerprint(contents(number), modality)
        if found is None:
            continue
        if vectors is None:
            shape = (count, len(found.vector))
            vectors = np.memmap(folder / "vectors", np.float16, "w+", shape=shape)
        bits[known], numbers[known], vectors[known] = found.bits, number, found.vector
        known += 1
    if vectors is None:
        return np.empty((0, 2), np.int64)
    stored = vectors

    def are_near(pairs: Pairs) -> NDArray[np.bool_]:
        products = stored[pairs[:, 0]].astype(np.float32) * stored[pairs[:, 1]]
        near: NDArray[np.bool_] = products.sum(axis=1) >= LEAST_CORRELATION
        return near

    pairs = _confirmed(_bit_samples(bits[:known]), are_near, NEIGHBOURS)
    return np.sort(numbers[pairs], axis=1)


def _bit_samples(bits: NDArray[np.uint64]) -> Iterator[NDArray[np.uint64]]:
    """Yield keys of some bits each, so that similar fingerprints share a key (bit sampling LSH)."""
    width = int(np.clip(np.log2(max(len(bits), 1)), 8, MOST_BITS))
    random = np.random.default_rng(2)
    for _ in range(TABLES):
        mask = sum(1 << int(bit) for bit in random.choice(64, width, replace=False))
        yield bits & np.uint64(mask)


def _confirmed(
    tables: Iterable[NDArray[np.uint64]],
    are_near: Callable[[Pairs], NDArray[np.bool_]],
    neighbours: int,
) -> Pairs:
    """Return the pairs that share a key in some table and are near, sorted."""
    found: list[Pairs] = []
    for keys in tables:
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        for distance in range(1, neighbours + 1):
            same = np.flatnonzero(ordered[distance:] == ordered[:-distance])
            if not same.size:
                break
            pairs = np.sort(np.stack([order[same], order[same + distance]], axis=1), axis=1)
            pairs = _new(pairs, found)
            if len(pairs):
                found.append(pairs[are_near(pairs)])
    if not found:
        return np.empty((0, 2), np.int64)
    return np.unique(np.concatenate(found), axis=0).astype(np.int64)


def _new(pairs: Pairs, found: list[Pairs]) -> Pairs:
    """Return the pairs that were not confirmed yet."""
    if not found:
        return pairs
    known = np.concatenate(found)
    base = np.int64(2**31)
    return pairs[~np.isin(pairs[:, 0] * base + pairs[:, 1], known[:, 0] * base + known[:, 1])]
