"""Classes of a data set: their sizes, their counts in each split, and warnings about them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tfhub_blocks.compute.data.fields import refusal
from tfhub_blocks.records.formats.snapshots import SPLITS

MIN_CLASS_ITEMS = 3
NAMES_SHOWN = 10

Codes = npt.NDArray[np.integer[Any]]


def check_classes(labels: tuple[str, ...], label_codes: Codes) -> None:
    """Check that there are two classes or more, and three items or more in each.

    Args:
        labels: The label of each code.
        label_codes: The code of each item.

    Raises:
        BlocksError: The data set has fewer classes, or fewer items in a class.
    """
    sizes = np.bincount(label_codes, minlength=len(labels))
    small = {
        f"{label!r} ({size})"
        for label, size in zip(labels, sizes, strict=True)
        if size < MIN_CLASS_ITEMS
    }
    if small:
        classes = "1 class" if len(small) == 1 else f"{len(small)} classes"
        raise refusal(
            f"{classes} with too few items: {_shown(small)}",
            f"at least {MIN_CLASS_ITEMS} different items in each class",
            "Add items to these classes, or remove the classes from the source",
        )
    if len(labels) < 2:
        raise refusal(
            f"the only class is {labels[0]!r}" if labels else "no item can be used",
            "two classes or more",
            "Pass a folder that contains a folder for each class, or a table with two labels or "
            "more",
        )


def check_splits(counts: Mapping[str, Mapping[str, int]], are_given: bool) -> None:
    """Check that a model can be trained on the splits; a snapshot of test items only is valid.

    Raises:
        BlocksError: There are training items, but none of some class, or no validation item.
    """
    train, validation = counts["train"], counts["validation"]
    if not sum(train.values()):
        return
    where = "in the source" if are_given else "to the source"
    missing = {repr(label) for label, number in train.items() if not number}
    if missing:
        classes = "class" if len(missing) == 1 else "classes"
        raise refusal(
            f"the split train has no item of the {classes} {_shown(missing)}",
            "one training item or more of each class",
            f"Move items of the {classes} into the split train {where}, or set respect_splits to "
            "false"
            if are_given
            else f"Add items of the {classes} {where}, or remove the {classes}",
        )
    if not sum(validation.values()):
        raise refusal(
            "the split validation has no items, and training chooses a model on it",
            "one validation item or more",
            "Set validation_fraction above 0"
            + ("" if are_given else ", or add items: a class needs three groups of items"),
        )


def count_classes(
    labels: tuple[str, ...], label_codes: Codes, splits: Codes
) -> dict[str, dict[str, int]]:
    """Count items by split and label; the result contains every split and every label."""
    counts = np.zeros((len(SPLITS), len(labels)), np.int64)
    np.add.at(counts, (splits, label_codes), 1)
    return {
        split: dict(sorted(zip(labels, map(int, row), strict=True)))
        for split, row in zip(SPLITS, counts, strict=True)
    }


def split_warnings(
    counts: Mapping[str, Mapping[str, int]], fractions: Mapping[str, float]
) -> list[str]:
    """Return a problem for each split that lacks items, or items of some class.

    A split whose fraction is zero needs no items.
    """
    warnings = []
    for split, fraction in fractions.items():
        missing = {repr(label) for label, number in counts[split].items() if not number}
        if len(missing) == len(counts[split]) and fraction:
            warnings.append(f"the split {split} has no items")
        elif missing and fraction:
            classes = "class" if len(missing) == 1 else "classes"
            warnings.append(f"the split {split} has no item of the {classes} {_shown(missing)}")
    return warnings


def _shown(names: set[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(sorted(names)[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
