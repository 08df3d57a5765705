"""The split rule: stratified, deterministic, and stable over time.

What belongs together, a group, is in one split. A group counts for each class of its items. Each
class fills a quota of groups for the test and the validation split, in the order of a salted hash.
Items of an earlier snapshot keep their side: what was training or validation never becomes test,
and the reverse.
"""

# decision 80

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
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
    ids: Sequence[str],
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
    numbers, of_item = np.unique(groups, return_inverse=True)
    before: list[set[int]] = [set() for _ in numbers]
    names = [""] * len(numbers)
    members: list[set[int]] = [set() for _ in numbers]
    for item, (group, known, label) in enumerate(
        zip(of_item.tolist(), earlier.tolist(), classes.tolist(), strict=True)
    ):
        if known != UNKNOWN:
            before[group].add(known)
        members[group].add(label)
        if not names[group] or ids[item] < names[group]:
            names[group] = ids[item]
    splits = np.array([_kept(known) for known in before], np.int8)
    _fill(splits, members, names, fractions)
    found: Codes = splits[of_item]
    return np.where(earlier != UNKNOWN, earlier, found).astype(np.int8)


def _kept(before: set[int]) -> int:
    """Return the split of a group's new items, from the splits of its earlier items."""
    if not before:
        return UNKNOWN
    if TEST in before:
        return TEST if before == {TEST} else LEFT_OUT
    return TRAIN if TRAIN in before else VALIDATION


def _fill(
    splits: Codes, members: Sequence[set[int]], names: Sequence[str], fractions: SplitFractions
) -> None:
    """Assign each group that has no split yet."""
    of_class: dict[int, list[int]] = defaultdict(list)
    for group, labels in enumerate(members):
        if splits[group] != LEFT_OUT:
            for label in labels:
                of_class[label].append(group)

    def position(group: int) -> bytes:
        return hashlib.sha256(f"{fractions.salt}\n{names[group]}".encode()).digest()

    ordered = {label: sorted(of, key=position) for label, of in of_class.items()}
    # The rarest class first: groups with items of several classes are scarce for it (Sechidis et
    # al., On the stratification of multi-label data, 2011).
    rarest_first = sorted(
        ordered, key=lambda label: (len(ordered[label]), names[ordered[label][0]])
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


def _take(splits: Codes, groups: Iterable[int], split: int, number: int) -> None:
    """Put the first groups without a split into one, at most a number of them."""
    for group in groups:
        if number <= 0:
            return
        if splits[group] == UNKNOWN:
            splits[group] = split
            number -= 1


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
