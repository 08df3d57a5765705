"""The splits of a snapshot's items, and the near duplicates among them."""

# decisions 80 and 81

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.data.fields import STEP_NAME
from tfhub_blocks.compute.data.item_places import NO_GROUP, Indexes, ItemPlaces
from tfhub_blocks.compute.data.near_duplicates import (
    Pairs,
    Signatures,
    groups_of,
    without_templates,
)
from tfhub_blocks.compute.data.splitting import (
    LEFT_OUT,
    TEST,
    TRAIN,
    UNKNOWN,
    VALIDATION,
    Codes,
    SplitFractions,
    assign_splits,
    joined,
)
from tfhub_blocks.records.formats.snapshots import SPLITS, open_snapshot
from tfhub_blocks.records.formats.twins import (
    IN_ONE_SPLIT,
    twins_warning,
    write_groups,
    write_twins,
)

LEFT_OUT_REASON = (
    "the item belongs to both a training item and a test item of the earlier snapshot, so it can "
    "be in neither split"
)
Earlier = tuple[NDArray[np.bytes_], Codes, str]
"""The ids of an earlier snapshot, their splits, and its digest."""


def earlier_splits(previous: Path | None) -> Earlier | None:
    """Return ids, split codes and digest of an earlier snapshot, in the order of its ids."""
    if previous is None:
        return None
    snapshot = open_snapshot(previous, STEP_NAME)
    index = snapshot.index()
    raw = b"".join(map(bytes.fromhex, index["id"].to_pylist()))
    codes = np.array([SPLITS.index(split) for split in index["split"].to_pylist()], np.int8)
    return np.frombuffer(raw, "S32"), codes, snapshot.manifest.digest


class SplitOptions(Protocol):
    """The options that decide splits."""

    @property
    def respect_splits(self) -> bool:
        """True for the splits of the source."""

    @property
    def near_duplicates(self) -> str:
        """The rule of near duplicates: together, report or off."""

    @property
    def fractions(self) -> SplitFractions:
        """The salt and the fractions."""


@dataclass(frozen=True, eq=False)
class ItemSplits:
    """The split of each item, and the group of near duplicates of each item."""

    items: Indexes
    codes: Codes
    near: NDArray[np.int64]
    templates: int
    pairs: Pairs
    is_together: bool
    drew_validation: bool

    def twins(self) -> list[tuple[int, int]]:
        """Return each test item with a near duplicate in training or validation, and that one."""
        learned: dict[int, int] = {}
        sizes = np.bincount(self.near, minlength=1)
        shared = np.flatnonzero(sizes[self.near] > 1)
        for item in shared:
            if self.codes[item] in (TRAIN, VALIDATION):
                learned.setdefault(int(self.near[item]), int(item))
        return [
            (int(item), learned[int(self.near[item])])
            for item in shared
            if self.codes[item] == TEST and int(self.near[item]) in learned
        ]

    def write_tables(self, folder: Path, places: ItemPlaces) -> int:
        """Write near duplicates and twins if there are any, and return the number of twins."""
        twins = self.twins()
        named = {places.id(self.items[one]): places.id(self.items[other]) for one, other in twins}
        write_twins(folder, named)
        sizes = np.bincount(self.near, minlength=1)
        first: dict[int, str] = {}
        groups = {}
        for item in np.flatnonzero((sizes[self.near] > 1) & (self.codes != LEFT_OUT)):
            name = places.id(self.items[item])
            groups[name] = first.setdefault(int(self.near[item]), name)
        write_groups(folder, groups)
        return len(twins)

    def warnings(self, twins: int) -> Iterator[str]:
        """Yield the warnings about near duplicates and about items that were left out."""
        sizes = np.bincount(self.near, minlength=1)
        alike, groups = int(sizes[sizes > 1].sum()), int((sizes > 1).sum())
        if alike:
            end = IN_ONE_SPLIT if self.is_together and not twins else ""
            yield f"{alike} items are near duplicates of others, in {groups} groups{end}"
        if twins:
            yield twins_warning(twins)
        if self.templates:
            yield (
                f"{self.templates} items resemble each other in chains, as if written from one "
                "template, and are not treated as near duplicates: set group_by if some of them "
                "belong together"
            )
        if self.drew_validation:
            yield "the source has no validation split: validation items were drawn from train"
        if left := int((self.codes == LEFT_OUT).sum()):
            yield f"{left} items were left out: {LEFT_OUT_REASON}"


def split_items(
    places: ItemPlaces,
    kept: Indexes,
    items: Indexes,
    options: SplitOptions,
    earlier: Earlier | None,
    signatures: Signatures | None,
) -> ItemSplits:
    """Return the splits of items.

    Args:
        places: The places of the source.
        kept: The usable places.
        items: The first place of each content, in the order of ids.
        options: The options.
        earlier: The earlier snapshot.
        signatures: The signatures of all places, or None to find no near duplicates.
    """
    count = len(items)
    near, templates = np.arange(count), 0
    pairs: Pairs = np.empty((0, 2), np.int64)
    if signatures is not None:
        pairs = signatures.pairs(
            places.added[items], lambda number: places.content(int(items[number]))
        )
        pairs, templates = without_templates(pairs, count)
        near = groups_of(pairs, count)
    is_together = options.near_duplicates == "together"
    groups = _user_groups(places, kept, items)
    if is_together:
        is_grouped = not (groups == np.arange(count)).all()
        groups = joined(groups, near) if is_grouped else near
    ids = places.ids[items]
    labels = places.labels[items]
    drew_validation = False
    if options.respect_splits:
        codes = places.splits[items].copy()
        train = np.flatnonzero(codes == TRAIN)
        if len(train) and not (codes == VALIDATION).any() and options.fractions.validation:
            rule = SplitFractions(options.fractions.salt, options.fractions.validation, 0.0)
            codes[train] = assign_splits(ids[train], labels[train], groups[train], rule)
            drew_validation = bool((codes == VALIDATION).any())
    else:
        known = _known(places.ids[items], earlier) if earlier else None
        codes = assign_splits(ids, labels, groups, options.fractions, known)
    return ItemSplits(items, codes, near, templates, pairs, is_together, drew_validation)


def _user_groups(places: ItemPlaces, kept: Indexes, items: Indexes) -> NDArray[np.int64]:
    """Return the group of each item; a content at several places joins their groups."""
    if not (places.groups[kept] != NO_GROUP).any():
        return np.arange(len(items))
    of_content = np.searchsorted(places.ids[items], places.ids[kept])
    groups = places.groups[kept].astype(np.int64)
    alone = groups == NO_GROUP
    groups[alone] = groups.max() + 1 + np.arange(int(alone.sum()))
    found = joined(of_content, groups)
    first = np.searchsorted(kept, items)
    return found[first]


def _known(ids: NDArray[np.bytes_], earlier: Earlier) -> Codes:
    """Return the earlier split of each id, or ``UNKNOWN``."""
    before, codes, _ = earlier
    found = np.full(len(ids), UNKNOWN, np.int8)
    positions = np.searchsorted(before, ids)
    inside = np.flatnonzero(positions < len(before))
    same = inside[before[positions[inside]] == ids[inside]]
    found[same] = codes[positions[same]]
    return found
