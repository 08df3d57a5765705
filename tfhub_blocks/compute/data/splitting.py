"""The split rule: stratified, deterministic, and stable over time.

What belongs together, a group, is in one split. A group counts for each class of its items. Each
class fills a quota of groups for the test and the validation split, in the order of a salted hash.
Items of an earlier snapshot keep their side: what was training or validation never becomes test,
and the reverse.
"""

# decision 80

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from tfhub_blocks.records.formats.snapshots import SPLITS

Codes = NDArray[np.int8]

TRAIN, VALIDATION, TEST = range(len(SPLITS))
UNKNOWN = -1
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
        ids: The ids of the items.
        classes: The class of each item, [items].
        groups: The group of each item, [items].
        fractions: The salt and the fractions of groups.
        earlier: The split of each item in the earlier snapshot, or ``UNKNOWN``.
    """
    if earlier is None:
        earlier = np.full(len(ids), UNKNOWN, np.int8)
    if not len(ids):
        return np.empty(0, np.int8)
    of_item = np.unique(groups, return_inverse=True)[1]
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
    order = np.argsort(encoded, kind="stable")
    firsts = np.unique(of_item[order], return_index=True)[1]
    found: NDArray[np.bytes_] = encoded[order[firsts]]
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
    places = (hashlib.sha256(salt + bytes(name)).digest() for name in names)
    # A digest may end in zeros, which fixed-width bytes drop; the order stays the same.
    position = np.argsort(np.argsort(np.fromiter(places, "S32", len(names)), kind="stable"))
    ordered = {}
    for label in np.unique(classes).tolist():
        of = np.unique(of_item[classes == label])
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
