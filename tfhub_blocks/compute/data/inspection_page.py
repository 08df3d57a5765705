"""The page of an inspection: numbers, findings, and pictures of classes and duplicates.

The page is one self-contained file: styles are inline and pictures are data URIs.
"""

# decision 59

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfhub_blocks.compute.data.data_analysis import DataAnalysis
from tfhub_blocks.compute.data.item_places import Indexes
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Shown
from tfhub_blocks.records.base.templates import render, shared_style
from tfhub_blocks.records.formats.inspections import (
    INSPECTION_PAGE_NAME,
    DataInspection,
    shown_examples,
    total,
)
from tfhub_blocks.records.formats.snapshots import SPLITS

# The page of a large data set shows the first classes and pairs of duplicates.
CLASSES_SHOWN, ITEMS_SHOWN, PAIRS_SHOWN = 24, 4, 12


@dataclass(frozen=True)
class ShownItem:
    """An item as a model gets it, with its path and its class."""

    path: str
    label: str
    shown: Shown


@dataclass(frozen=True)
class Strip:
    """Items that are shown side by side under a title."""

    title: str
    kind: str  # "classes", "copies" or "near duplicates"
    items: tuple[ShownItem, ...]


def write_page(folder: Path, inspection: DataInspection, done: DataAnalysis) -> None:
    """Write the page into the folder of a snapshot."""
    page = render_inspection(inspection, "snapshot_data", gallery_of(done))
    (folder / INSPECTION_PAGE_NAME).write_text(page, encoding="utf-8")


def render_inspection(inspection: DataInspection, title: str, strips: Sequence[Strip]) -> str:
    """Return the page as HTML; equal inspections give equal texts."""
    return render(
        __file__,
        one=inspection,
        title=title,
        strips={
            kind: [strip for strip in strips if strip.kind == kind]
            for kind in ("classes", "copies", "near duplicates")
        },
        splits=SPLITS,
        style=shared_style(),
        total=total,
        shown_examples=shown_examples,
    )


def gallery_of(done: DataAnalysis) -> tuple[Strip, ...]:
    """Return the items that the page shows: of each class, and duplicates side by side."""
    return (*_classes(done), *_copies(done), *_near_duplicates(done))


def _classes(done: DataAnalysis) -> list[Strip]:
    codes = done.places.labels[done.items] if len(done.items) else done.items
    strips = []
    for label in sorted(done.labels)[:CLASSES_SHOWN]:
        indexes = done.items[codes == done.labels.index(label)][:ITEMS_SHOWN]
        strips.append(Strip(label, "classes", _shown(done, indexes)))
    return strips


def _copies(done: DataAnalysis) -> list[Strip]:
    """Return exact copies: the places of the first contents that have several."""
    if len(done.kept) == len(done.items):
        return []
    ids = done.places.ids[done.kept]
    is_copy = np.flatnonzero(ids[1:] == ids[:-1])
    firsts = is_copy[np.concatenate([[True], np.diff(is_copy) > 1])][:PAIRS_SHOWN]
    return [
        Strip("", "copies", _shown(done, done.kept[first : first + 2])) for first in firsts.tolist()
    ]


def _near_duplicates(done: DataAnalysis) -> list[Strip]:
    if done.found is None:
        return []
    pairs = done.found.pairs[:PAIRS_SHOWN]
    return [Strip("", "near duplicates", _shown(done, done.found.items[pair])) for pair in pairs]


def _shown(done: DataAnalysis, indexes: Indexes) -> tuple[ShownItem, ...]:
    kind = MODALITIES[done.source.modality]
    paths = done.places.paths(indexes)
    return tuple(
        ShownItem(
            path,
            done.labels[done.places.labels[index]],
            kind.previewed(done.places.content(int(index))),
        )
        for path, index in zip(paths, indexes, strict=True)
    )
