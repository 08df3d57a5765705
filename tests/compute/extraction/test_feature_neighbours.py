"""Items with the same features are counted, and test items with a twin in training are found."""

import numpy as np
import pytest

from tfhub_blocks.compute.extraction.feature_neighbours import feature_neighbours

DIMENSION = 24


def reader(vectors: np.ndarray, rows: int = 37):
    names = [f"{number:04d}" for number in range(len(vectors))]

    def read():
        for start in range(0, len(vectors), rows):
            part = vectors[start : start + rows]
            yield names[start : start + rows], part.astype(np.float32)

    return read


def splits_of(count: int) -> dict[str, str]:
    names = ("train", "train", "train", "validation", "test")
    return {f"{number:04d}": names[number % 5] for number in range(count)}


def spread(random: np.random.Generator, items: int, dimensions: int) -> np.ndarray:
    """Features of items that fill so many dimensions, in a few classes."""
    classes = random.normal(0, 2, (5, dimensions))[random.integers(0, 5, items)]
    axes = random.normal(0, 1, (dimensions, DIMENSION))
    return (classes + random.normal(0, 1, (items, dimensions))) @ axes + 3


def test_the_same_features_are_counted_and_named():
    vectors = spread(np.random.default_rng(0), 300, 8)
    noise = 1 + np.random.default_rng(1).normal(0, 1e-7, (40, DIMENSION))
    vectors[100:140] = vectors[100] * noise  # as another place in a batch gives it
    vectors[7] = vectors[201]
    found = feature_neighbours(reader(vectors), splits_of(300), has_twins=False)
    groups = {number: found.same.get(f"{number:04d}") for number in range(300)}
    assert {groups[number] for number in range(100, 140)} == {"0100"}
    assert (groups[7], groups[201]) == ("0007", "0007")
    assert len(found.same) == 42
    assert not found.twins


def test_all_items_may_have_the_same_features():
    found = feature_neighbours(reader(np.full((60, 4), 2.5)), splits_of(60), has_twins=True)
    assert len(found.same) == 60
    assert not found.twins  # a blind encoder, not copies


@pytest.mark.parametrize("dimensions", [2, 3, 8, 24])
def test_neighbours_by_chance_are_no_twins(dimensions):
    random = np.random.default_rng(dimensions)
    found = [
        feature_neighbours(reader(spread(random, 400, dimensions)), splits_of(400), True).twins
        for _ in range(10)
    ]
    # 800 test items: about one in ten thousand is one by chance.
    assert sum(map(len, found)) <= 1


def test_copies_across_splits_are_twins():
    random = np.random.default_rng(5)
    scenes = spread(random, 120, 16)
    frames = np.repeat(scenes, 4, axis=0) + random.normal(0, 0.15, (480, DIMENSION))
    order = random.permutation(480)
    vectors, scene_of = frames[order], order // 4
    splits = splits_of(480)
    found = feature_neighbours(reader(vectors), splits, True).twins
    learned = {scene_of[int(item)] for item, split in splits.items() if split != "test"}
    tested = [item for item, split in splits.items() if split == "test"]
    copies = {item for item in tested if scene_of[int(item)] in learned}
    assert len(copies & found.keys()) > 0.95 * len(copies)
    assert not found.keys() - copies
    for item, twin in found.items():
        assert splits[twin] != "test"
        assert scene_of[int(twin)] == scene_of[int(item)]


def test_few_items_have_no_twins_and_no_test_split_is_needed():
    vectors = spread(np.random.default_rng(0), 20, 4)
    assert not feature_neighbours(reader(vectors), splits_of(20), True).twins
    of_train = {f"{number:04d}": "train" for number in range(100)}
    found = feature_neighbours(reader(spread(np.random.default_rng(0), 100, 4)), of_train, True)
    assert not found.twins
