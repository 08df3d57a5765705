"""The least numbers of test items by which a gate can judge a model."""

# decision 79

from collections.abc import Iterator, Mapping

MIN_TEST_ITEMS = "min_test_items"
MIN_CLASS_TEST_ITEMS = "min_class_test_items"
DEFAULT_TEST_ITEMS = 10
"""With 10 of 10 right, the 95 % interval of the accuracy begins at 0.69; with 20 of 20, at 0.83."""
DEFAULT_CLASS_TEST_ITEMS = 1
"""Every class was tested."""
TAIL = 0.025


def unreachable(
    counts: Mapping[str, int],
    min_test_items: int = 0,
    min_class_test_items: int = 0,
    min_gain: float | None = None,
    twins: int = 0,
) -> Iterator[tuple[str, str, str]]:
    """Yield each threshold that a test split cannot reach, even if all answers are right.

    Args:
        counts: The number of test items of each class, without twins.
        min_test_items: The least number of test items.
        min_class_test_items: The least number of test items of each class.
        min_gain: The least gain over a champion.
        twins: The number of further test items, which have a near duplicate in training.

    Yields:
        The threshold, the problem, and the remedy.
    """
    items = sum(counts.values())
    without = f" without the {twins} near duplicates of training items" if twins else ""
    if items < min_test_items:
        remedy = "Add data, raise test_fraction of snapshot_data"
        if twins:
            remedy = "Add test items that are no near duplicates of training items"
        yield (
            MIN_TEST_ITEMS,
            f"the test split has {items} items{without}, fewer than {min_test_items}",
            f"{remedy}, or set {MIN_TEST_ITEMS} to {items} or less"
            if items
            else f"{remedy}, or set respect_splits of snapshot_data to false",
        )
    few = sorted(label for label, count in counts.items() if count < min_class_test_items)
    if few:
        least = min(counts.values())
        yield (
            MIN_CLASS_TEST_ITEMS,
            f"the test split has fewer than {min_class_test_items} items of {named(few)}{without}",
            f"Add items of these classes, or set {MIN_CLASS_TEST_ITEMS} to {least}",
        )
    if not items:
        return
    # Clopper and Pearson's lower end if all items are right.
    low, majority = TAIL ** (1 / items), max(counts.values()) / items
    if low <= majority:
        yield (
            "accuracy_low > majority_share",
            f"with all {items} test items right, the interval of the accuracy begins at {low:.3f}, "
            f"and the majority class has {majority:.3f} of the items",
            "Add items of the smaller classes, or raise test_fraction of snapshot_data",
        )
    if min_gain is not None and 2 * low - 1 < min_gain:
        yield (
            "min_accuracy_gain",
            f"with all {items} test items right by the model alone, the interval of the gain "
            f"begins at {2 * low - 1:.3f}, below {min_gain:g}",
            "Add data, raise test_fraction of snapshot_data, or set a lower min_accuracy_gain",
        )


def named(labels: list[str], most: int = 10) -> str:
    """Return labels in quotes, in one line; of many, the first ones and the number of others."""
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(map(repr, labels[:most])) + more
