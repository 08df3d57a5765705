"""The split rule: stratified, deterministic, and stable over time.

What belongs together, a group, is in one split. A group counts for each class of its items. Each
class fills a quota of groups for the test and the validation split, in the order of a salted hash.
Items of an earlier snapshot keep their side: what was training or validation never becomes test,
and the reverse.
"""

# decision 80

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tfhub_blocks.records.formats.snapshots import SPLITS

Codes = NDArray[np.int8]

TRAIN, VALIDATION, TEST = range(len(SPLITS))
UNKNOWN = -1
DIGEST_BYTES, NAMES_AT_ONCE = 32, 2**16
LEFT_OUT = -2
RULE = "stratified-groups"
# From so many groups on, a class has a group in the split; fewer are too few for it.
FIRST_IN_TEST, FIRST_IN_VALIDATION = 2, 3


@dataclass(frozen=True)
class SplitFractions:
    """The salt and the fractions of the split rule."""

    salt: str
    validation: float
    test: float

    def quota(self, split: int, groups: int) -> int:
        """Return the number of groups that a class with so many groups has in a split."""
        fraction = self.test if split == TEST else self.validation
        first = FIRST_IN_TEST if split == TEST else FIRST_IN_VALIDATION
        if fraction == 0 or groups < first:
            return 0
        return max(1, int(fraction * groups + 0.5))


def assign_splits(
    ids: Sequence[str] | NDArray[np.bytes_],
    classes: NDArray[np.integer],
    groups: NDArray[np.integer],
    fractions: SplitFractions,
    earlier: Codes | None = None,
) -> Codes:
    """Return the split of each item, as an index into ``SPLITS``, or ``LEFT_OUT``.

    The result does not depend on the order of the items.

    Args:
        ids: The ids of the items: in hexadecimal, or digests of 32 bytes.
        classes: The class of each item, [items].
        groups: The group of each item, [items].
        fractions: The salt and the fractions of groups.
        earlier: The split of each item in the earlier snapshot, or ``UNKNOWN``.
    """
    if earlier is None:
        earlier = np.full(len(ids), UNKNOWN, np.int8)
    if not len(ids):
        return np.empty(0, np.int8)
    of_item = _numbered(groups)
    count = int(of_item.max()) + 1
    splits = _kept(of_item, earlier, count)
    names = _names(ids, of_item)
    _fill(splits, classes, of_item, names, fractions)
    found: Codes = splits[of_item]
    return np.where(earlier != UNKNOWN, earlier, found).astype(np.int8)


def _kept(of_item: NDArray[np.integer], earlier: Codes, count: int) -> Codes:
    """Return the split of each group's new items, from the splits of its earlier items."""
    before = np.zeros((count, len(SPLITS)), bool)
    known = earlier != UNKNOWN
    before[of_item[known], earlier[known]] = True
    others = before[:, TRAIN] | before[:, VALIDATION]
    splits = np.full(count, UNKNOWN, np.int8)
    splits[before[:, VALIDATION]] = VALIDATION
    splits[before[:, TRAIN]] = TRAIN
    splits[before[:, TEST]] = TEST
    splits[before[:, TEST] & others] = LEFT_OUT
    return splits


def _names(
    ids: Sequence[str] | NDArray[np.bytes_], of_item: NDArray[np.integer]
) -> NDArray[np.bytes_]:
    """Return the name of each group: the lowest id of its items."""
    encoded = ids if isinstance(ids, np.ndarray) else np.array([item.encode() for item in ids])
    if _is_counting(of_item):
        return encoded
    order = np.argsort(encoded, kind="stable")
    firsts = np.empty(int(of_item.max()) + 1, np.int64)
    # The last assignment of several counts, so the first item of a group is assigned last.
    firsts[of_item[order[::-1]]] = order[::-1]
    found: NDArray[np.bytes_] = encoded[firsts]
    return found


def _fill(
    splits: Codes,
    classes: NDArray[np.integer],
    of_item: NDArray[np.integer],
    names: NDArray[np.bytes_],
    fractions: SplitFractions,
) -> None:
    """Assign each group that has no split yet."""
    salt = f"{fractions.salt}\n".encode()
    digests = np.empty(len(names), "S32")
    for start in range(0, len(names), NAMES_AT_ONCE):
        part = slice(start, start + NAMES_AT_ONCE)
        hashed = b"".join([sha256(salt + name).digest() for name in _in_hex(names[part])])
        digests[part] = np.frombuffer(hashed, "S32")
    position = np.empty(len(names), np.int64)
    position[order_of_digests(digests)] = np.arange(len(names))
    ordered = {}
    for label in _distinct(classes).tolist():
        of = _distinct(of_item[classes == label])
        of = of[splits[of] != LEFT_OUT]
        if of.size:
            ordered[label] = of[np.argsort(position[of])]
    # The rarest class first: groups with items of several classes are scarce for it (Sechidis et
    # al., On the stratification of multi-label data, 2011).
    rarest_first = sorted(
        ordered, key=lambda label: (ordered[label].size, names[ordered[label][0]])
    )
    needs = [(TRAIN, 1), (TEST, None), (VALIDATION, None)]
    for is_least in (True, False):
        for label in rarest_first:
            of = ordered[label]
            for split, number in needs:
                quota = fractions.quota(split, len(of)) if number is None else number
                wanted = min(quota, 1) if is_least else quota
                _take(splits, of, split, wanted - int((splits[of] == split).sum()))
    splits[splits == UNKNOWN] = TRAIN


def order_of_digests(digests: NDArray[np.bytes_]) -> NDArray[np.int64]:
    """Return the order of digests of 32 bytes each; equal digests keep their order."""
    # The first eight bytes nearly always decide, and numbers sort much faster.
    first = digests.view(">u8")[::4].astype(np.uint64)
    order: NDArray[np.int64] = np.argsort(first, kind="stable")
    same = np.flatnonzero(first[order[1:]] == first[order[:-1]])
    if (digests[order[same]] != digests[order[same + 1]]).any():
        order = np.argsort(digests, kind="stable")
    return order


def _in_hex(names: NDArray[np.bytes_]) -> list[bytes]:
    """Return names in hexadecimal; those of 32 bytes are digests."""
    if names.itemsize != DIGEST_BYTES:
        found: list[bytes] = names.tolist()
        return found
    text = names.tobytes().hex().encode()
    size = 2 * DIGEST_BYTES
    return [text[start : start + size] for start in range(0, len(text), size)]


def _is_counting(values: NDArray[np.integer]) -> bool:
    """Return True for 0, 1, 2, ..."""
    return bool((values == np.arange(len(values))).all())


def _numbered(values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the number of each value among the different values, in their order."""
    is_dense = values.min() == 0 and values.max() < len(values) and np.bincount(values).all()
    return values if is_dense else np.unique(values, return_inverse=True)[1]


def _distinct(values: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the different values, sorted; faster than np.unique, which hashes."""
    ordered = np.sort(values)
    is_first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)]
    found: NDArray[np.integer] = ordered[is_first]
    return found


def _take(splits: Codes, groups: NDArray[np.integer], split: int, number: int) -> None:
    """Put the first groups without a split into one, at most a number of them."""
    free = groups[splits[groups] == UNKNOWN]
    splits[free[: max(number, 0)]] = split


def joined(first: NDArray[np.integer], second: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return groups such that items that share a group in either argument share a group."""
    count = len(first)
    one, other = (np.unique(each, return_inverse=True)[1] for each in (first, second))
    nodes = count + one.max(initial=0) + 1 + other.max(initial=0) + 1
    items = np.arange(count)
    rows = np.concatenate([items, items])
    columns = np.concatenate([count + one, count + one.max(initial=0) + 1 + other])
    links = coo_matrix((np.ones(len(rows), bool), (rows, columns)), (nodes, nodes))
    found: NDArray[np.int64] = connected_components(links, directed=False)[1].astype(np.int64)
    return found[:count]
