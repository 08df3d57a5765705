"""Splits to train or choose a head on: features in memory or on disk, and their checks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.records.base.errors import BlocksError

WHERE = "train_head"

CHUNK_BYTES = 8 * 2**20
"""The approximate size of a chunk of features in memory."""


class Rows(Protocol):
    """Features that are read in chunks, such as `records.vectors.Vectors`."""

    @property
    def shape(self) -> tuple[int, int]:
        """The number of items, and the dimension."""
        ...

    def chunks(self, rows: int) -> Iterator[NDArray[np.float32]]:
        """Yield the features in order, ``[rows, dim]`` each; the last may have fewer rows."""
        ...


@dataclass(frozen=True, eq=False)
class Split:
    """The features of one split: row ``i`` belongs to item ``ids[i]`` of class ``targets[i]``."""

    features: NDArray[np.float32] | Rows  # [items, dim]
    targets: NDArray[np.integer]  # [items], index into the labels
    ids: Sequence[str]  # [items]

    @property
    def size_bytes(self) -> int:
        """The size of the features in memory, as float32."""
        items, dim = self.features.shape
        return int(4 * items * dim)

    def chunks(self) -> Iterator[NDArray[np.float32]]:
        """Yield the features in order, ``[items, dim]``. Callers must not write to the chunks."""
        rows = max(CHUNK_BYTES // (4 * max(self.features.shape[1], 1)), 1)
        if isinstance(self.features, np.ndarray):
            for start in range(0, len(self.features), rows):
                yield self.features[start : start + rows]
        else:
            yield from self.features.chunks(rows)

    def held(self) -> "Split":
        """Return this split with its features in memory."""
        return replace(self, features=np.asarray(self.features, np.float32))

    def sample_rows(self, items: int) -> NDArray[np.int64]:
        """Return the numbers of about ``items`` rows: evenly spaced, plus the first of each class.

        A split of at most ``items`` rows is returned completely.
        """
        last = len(self.targets) - 1
        evenly = np.linspace(0, last, min(items, last + 1)).round().astype(np.int64)
        return np.union1d(evenly, np.unique(self.targets, return_index=True)[1])

    def taken(self, rows: NDArray[np.int64]) -> "Split":
        """Return some rows, in rising order, with their features in memory and without ids."""
        features, start = np.empty((len(rows), self.features.shape[1]), np.float32), 0
        for chunk in self.chunks():
            first, last = np.searchsorted(rows, [start, start + len(chunk)])
            features[first:last] = chunk[rows[first:last] - start]
            start += len(chunk)
        return Split(features, self.targets[rows], ())


def class_weights(targets: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """Return the weight of each class, ``[classes]``: ``items / (classes * items of the class)``.

    The weight of a class without items is finite, and not used.
    """
    counts = np.bincount(targets, minlength=classes)
    weights: NDArray[np.float64] = len(targets) / (classes * np.maximum(counts, 1))
    return weights


def check_splits(train: Split, validation: Split, labels: Sequence[str]) -> None:
    """Check that a head of these labels can be trained on ``train`` and chosen on ``validation``.

    Raises:
        BlocksError: A split is empty, does not fit the labels, or does not fit the other split;
            the training split lacks a class; or a feature is not finite (the message names the
            item).
    """
    for name, split in (("training", train), ("validation", validation)):
        _check_shape(name, split)
        _check_targets(name, split, len(labels))
    _check_pair(train, validation, labels)
    for name, split in (("training", train), ("validation", validation)):
        _check_finite(name, split)


def _check_shape(name: str, split: Split) -> None:
    items, shape = len(split.targets), tuple(split.features.shape)
    if len(shape) != 2 or not shape[0] == items == len(split.ids):
        raise _unusable(
            f"the {name} split has features of shape {shape}, {items} targets and "
            f"{len(split.ids)} ids",
            "one row, one target and one id for each item",
            "Extract the features again, and pass the new output as features",
        )
    if items == 0:
        raise _unusable(
            f"the {name} split is empty",
            "at least one item",
            f"Pass a larger share of the {name} split to snapshot_data, or take a snapshot of "
            "more items",
        )


def _check_targets(name: str, split: Split, classes: int) -> None:
    outside = (split.targets < 0) | (split.targets >= classes)
    if outside.any():
        item = int(outside.argmax())
        raise _unusable(
            f"item {split.ids[item]!r} of the {name} split has target {split.targets[item]}",
            f"0 to {classes - 1}, an index into the {classes} labels",
            "Extract the features again, and pass the new output as features",
        )


def _check_pair(train: Split, validation: Split, labels: Sequence[str]) -> None:
    if train.features.shape[1] != validation.features.shape[1]:
        raise _unusable(
            f"training items have {train.features.shape[1]} features and validation items "
            f"{validation.features.shape[1]}",
            "the same number, from the same encoder",
            "Extract the features of all splits in one extract_features step",
        )
    present = np.bincount(train.targets, minlength=len(labels)) > 0
    missing = [label for label, found in zip(labels, present, strict=True) if not found]
    if missing:
        named = ", ".join(repr(label) for label in missing[:5])
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise _unusable(
            f"the training split has no item of {named}{more}",
            f"at least one training item of each of the {len(labels)} classes",
            "Pass another split_salt to snapshot_data, add items of the missing classes to the "
            "data, or remove these classes from the data",
        )


def _check_finite(name: str, split: Split) -> None:
    start = 0
    for chunk in split.chunks():
        finite = np.isfinite(chunk).all(axis=1)
        if not finite.all():
            item = start + int(finite.argmin())
            raise _unusable(
                f"item {split.ids[item]!r} of the {name} split has a feature that is NaN or "
                "infinite",
                "",
                "Remove the item from the data and take a new snapshot, or extract the features "
                "again",
            )
        start += len(chunk)


def _unusable(problem: str, expected: str, remedy: str) -> BlocksError:
    return BlocksError(WHERE, "features", problem, expected, remedy)
