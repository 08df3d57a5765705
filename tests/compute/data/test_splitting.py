"""The split rule: its guarantee, and its stability while data grows."""

import numpy as np
import pytest

from tfhub_blocks.compute.data.splitting import (
    LEFT_OUT,
    TEST,
    TRAIN,
    UNKNOWN,
    VALIDATION,
    SplitFractions,
    assign_splits,
    joined,
)

FRACTIONS = SplitFractions("salt", 0.15, 0.15)
EVERY = {TRAIN, VALIDATION, TEST}


def data(seed, labels_of_a_group):
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 120))
    ids = [f"{random.integers(2**60):064x}" for _ in range(count)]
    groups = random.integers(random.integers(1, 80), size=count)
    classes = random.integers(random.integers(1, 6), size=count)
    return ids, groups % 3 if labels_of_a_group == "one" else classes, groups, random


@pytest.mark.parametrize("labels_of_a_group", ["one", "several"])
def test_every_class_of_six_groups_is_in_every_split(labels_of_a_group):
    for seed in range(200):
        ids, classes, groups, _ = data(seed, labels_of_a_group)
        splits = assign_splits(ids, classes, groups, FRACTIONS)
        for label in set(classes):
            if len(set(groups[classes == label])) >= 6:
                assert set(splits[classes == label]) == EVERY
        for group in set(groups):
            assert len(set(splits[groups == group])) == 1


def test_growing_data_keeps_every_split_and_the_guarantee():
    for seed in range(200):
        ids, classes, groups, random = data(seed, "one")
        earlier = np.full(len(ids), UNKNOWN, np.int8)
        for end in [*sorted(random.integers(1, len(ids) + 1, 4)), len(ids)]:
            given = earlier[:end].copy()
            found = assign_splits(ids[:end], classes[:end], groups[:end], FRACTIONS, given)
            assert (found[given != UNKNOWN] == given[given != UNKNOWN]).all()
            for label in set(classes[:end]):
                here = classes[:end] == label
                if len(set(groups[:end][here])) >= 6:
                    assert set(found[here]) == EVERY
            earlier[:end] = found


def test_splits_do_not_depend_on_the_order():
    ids, classes, groups, random = data(7, "several")
    order = random.permutation(len(ids))
    splits = assign_splits(ids, classes, groups, FRACTIONS)
    again = assign_splits([ids[n] for n in order], classes[order], groups[order], FRACTIONS)
    assert (splits[order] == again).all()


def test_shares_are_those_that_were_asked_for():
    ids = [f"{n * 2654435761 % 2**61:064x}" for n in range(2000)]
    splits = assign_splits(ids, np.arange(2000) % 4, np.arange(2000), FRACTIONS)
    assert np.bincount(splits).tolist() == [1400, 300, 300]


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ([TRAIN], TRAIN),
        ([TEST], TEST),
        ([VALIDATION], VALIDATION),
        ([TRAIN, VALIDATION], TRAIN),
        ([TRAIN, TEST], LEFT_OUT),
        ([VALIDATION, TEST], LEFT_OUT),
    ],
)
def test_new_item_joins_its_group_or_is_left_out(before, expected):
    count = len(before) + 1
    earlier = np.array([*before, UNKNOWN], np.int8)
    same = np.zeros(count, int)
    found = assign_splits([f"{n:064x}" for n in range(count)], same, same, FRACTIONS, earlier)
    assert found.tolist() == [*before, expected]


def test_joined_groups_connect_both_ways():
    first, second = np.array([0, 0, 1, 2, 3]), np.array([5, 6, 6, 7, 7])
    found = joined(first, second)
    assert found[0] == found[1] == found[2] != found[3] == found[4]
