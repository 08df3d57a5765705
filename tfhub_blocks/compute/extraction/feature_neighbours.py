"""Neighbours among features: items with the same features, and twins across splits.

Both are found in the written shards of an extraction. Memory contains a few numbers for each item,
the nearest neighbours of some test items, and a few batches of features.
"""

# decision 120

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tfhub_blocks.compute.data.near_duplicates import groups_of
from tfhub_blocks.records.formats.features import vectors_of
from tfhub_blocks.records.formats.snapshots import Snapshot

# Two items have the same features if some random projections agree but for rounding.
PROJECTIONS, ROUNDING = 4, 1e-5
# In the order of a projection, the same features are next to each other, or nearly so.
NEXT = 3

# A twin is much nearer than the 11th neighbour: more copies are a style, as for contents.
NEAR, FAR = 11, 22
LEAST_COSINE = 0.9
# The probability that a test item has such a near neighbour by chance.
LEVEL = 1e-4
MOST_DIMENSIONS = 64.0
ROWS_AT_ONCE = 4096

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]
Read = Callable[[], Iterator[tuple[Sequence[str], Vectors]]]
"""Yields ids and features in batches, in the same order each time."""


@dataclass(frozen=True)
class FeatureNeighbours:
    """The group of each item that shares its features, and the twin of each test item with one."""

    same: Mapping[str, str] = field(default_factory=dict)
    twins: Mapping[str, str] = field(default_factory=dict)

    def warnings(self, snapshot: Snapshot) -> Iterator[str]:
        """Yield the warnings, with the paths of two items of the largest group."""
        if self.same:
            groups = list(self.same.values())
            largest = max(sorted(set(groups)), key=groups.count)
            first = [item for item, group in self.same.items() if group == largest][:2]
            places = snapshot.places(first)
            shown = " and ".join(places.get(item, [item])[0] for item in first)
            count = len(set(groups))
            yield (
                f"{len(groups)} items have the same features as another item with another "
                f"content, in {count} group{'' if count == 1 else 's'}, so no model can "
                f"distinguish them: look at {shown}"
            )
        if self.twins:
            yield (
                f"{len(self.twins)} test items have features nearly equal to those of an item in "
                "training or validation: evaluate checks thresholds without them"
            )


def stored_features(folder: Path, shards: Sequence[str]) -> Read:
    """Return a reader of the shards of a folder of features that is not finished yet."""

    def read() -> Iterator[tuple[Sequence[str], Vectors]]:
        for name in shards:
            with pa.memory_map(str(folder / name)) as source:
                reader = pa.ipc.open_file(source)
                for number in range(reader.num_record_batches):
                    batch = reader.get_batch(number)
                    yield batch["id"].to_pylist(), vectors_of(batch["vector"]).astype(np.float32)

    return read


def feature_neighbours(read: Read, splits: Mapping[str, str], has_twins: bool) -> FeatureNeighbours:
    """Find the items with the same features, and the twins of test items.

    Args:
        read: The features, with at least one item.
        splits: The split of each id.
        has_twins: False to find no twins.
    """
    ids: list[str] = []
    projected: list[Floats] = []
    axes, total, learned = np.empty((0, 0)), np.empty(0), 0
    for some, vectors in read():
        if not len(ids):
            axes = np.random.default_rng(3).standard_normal((vectors.shape[1], PROJECTIONS))
            total = np.zeros(vectors.shape[1])
        ids += some
        projected.append(vectors.astype(np.float64) @ axes)
        of = vectors[[splits[item] != "test" for item in some]]
        total += of.sum(axis=0, dtype=np.float64)
        learned += len(of)
    same = _same(ids, np.concatenate(projected))
    twins: dict[str, str] = {}
    if has_twins and learned > FAR:
        mean = (total / learned).astype(np.float32)
        twins = _twins(lambda: _centred(read, mean), splits)
    return FeatureNeighbours(same, twins)


def _same(ids: Sequence[str], projected: Floats) -> dict[str, str]:
    """Return the group of each item that has the same features as another one."""
    tolerance = ROUNDING * np.maximum(projected.std(axis=0), 0.1 * np.abs(projected).mean(axis=0))
    order = np.argsort(projected[:, 0], kind="stable")
    ordered = projected[order]
    pairs = []
    for distance in range(1, NEXT + 1):
        gaps = np.abs(ordered[distance:] - ordered[:-distance])
        places = np.flatnonzero((gaps <= tolerance).all(axis=1))
        pairs.append(np.stack([order[places], order[places + distance]], axis=1))
    groups = groups_of(np.concatenate(pairs), len(ids))
    sizes = np.bincount(groups)
    first: dict[int, str] = {}
    return {
        ids[item]: first.setdefault(int(groups[item]), ids[item])
        for item in np.flatnonzero(sizes[groups] > 1).tolist()
    }


def _centred(read: Read, mean: Vectors) -> Iterator[tuple[Sequence[str], Vectors]]:
    """Yield ids and features of length one, after the mean is taken away; zero stays zero."""
    for ids, vectors in read():
        centred = vectors - mean
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        lengths[lengths == 0] = 1
        yield ids, centred / lengths


def _twins(read: Read, splits: Mapping[str, str]) -> dict[str, str]:
    """Return the twin of each test item that is nearer to it than neighbours are by chance.

    In a space of m dimensions, the distances to the neighbours of an item, to the power of m, are
    as the sums of equal steps. So the nearest of ten neighbours is below a part r of the distance
    to the 11th with probability ``1 - (1 - r^m)^10``. The dimension m follows from the distances to
    the 11th up to the 22nd neighbour, which copies hardly change (Levina and Bickel, Maximum
    likelihood estimation of intrinsic dimension, 2004).
    """
    found: list[str] = []
    nearest: list[str] = []
    distances: list[Floats] = []
    for ids, tested in _test_chunks(read, splits):
        some, twins = _neighbours(tested, read, splits)
        found += ids
        nearest += twins
        distances.append(some)
    if not found:
        return {}
    of = np.concatenate(distances)
    most = _largest_part(of) * of[:, NEAR - 1]
    least = np.sqrt(2 - 2 * LEAST_COSINE)
    is_twin = (of[:, 0] <= most) & (of[:, 0] <= least) & (of[:, NEAR - 1] > 0)
    return {found[row]: nearest[row] for row in np.flatnonzero(is_twin)}


def _largest_part(distances: Floats) -> float:
    """Return the largest part of the distance to the 11th neighbour that is no chance."""
    outer = distances[distances[:, NEAR - 1] > 0, NEAR - 1 : FAR]
    if not len(outer):
        return 0.0
    logs = np.log(outer[:, -1:] / outer[:, :-1]).mean()
    orders = np.arange(NEAR, FAR)
    expected = np.mean([(1 / np.arange(order, FAR)).sum() for order in orders])
    dimensions = min(expected / max(float(logs), 1e-9), MOST_DIMENSIONS)
    return float((1 - (1 - LEVEL) ** (1 / (NEAR - 1))) ** (1 / dimensions))


def _test_chunks(read: Read, splits: Mapping[str, str]) -> Iterator[tuple[list[str], Vectors]]:
    ids: list[str] = []
    chunks: list[Vectors] = []
    for some, vectors in read():
        chosen = [row for row, item in enumerate(some) if splits[item] == "test"]
        ids += [some[row] for row in chosen]
        chunks.append(vectors[chosen])
        if len(ids) >= ROWS_AT_ONCE:
            yield ids, np.concatenate(chunks)
            ids, chunks = [], []
    if ids:
        yield ids, np.concatenate(chunks)


def _neighbours(tested: Vectors, read: Read, splits: Mapping[str, str]) -> tuple[Floats, list[str]]:
    """Return the distances to the nearest learned items, [tested, FAR], and the nearest items."""
    best = np.full((len(tested), FAR), -1, np.float32)
    nearest, closest = [""] * len(tested), np.zeros_like(tested)
    for ids, vectors in read():
        rows = [row for row, item in enumerate(ids) if splits[item] != "test"]
        if not rows:
            continue
        cosines = tested @ vectors[rows].T
        top = cosines.argmax(axis=1)
        for item in np.flatnonzero(cosines[np.arange(len(top)), top] > best[:, 0]):
            nearest[item] = ids[rows[top[item]]]
            closest[item] = vectors[rows[top[item]]]
        both = np.concatenate([best, cosines], axis=1)
        best = -np.sort(np.partition(-both, FAR - 1, axis=1)[:, :FAR], axis=1)
    distances = np.sqrt(np.maximum(2 - 2 * best.astype(np.float64), 0))
    # A cosine near 1 has too few digits left for a distance.
    near = best[:, 0] > LEAST_COSINE / 2
    distances[near, 0] = np.linalg.norm((tested - closest)[near].astype(np.float64), axis=1)
    return distances, nearest
