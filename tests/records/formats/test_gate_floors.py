from tfhub_blocks.records.formats.gate_floors import unreachable


def test_what_a_test_split_cannot_show_is_named():
    assert list(unreachable({"a": 12, "b": 12}, 20, 1)) == []
    found = {name: problem for name, problem, _ in unreachable({"a": 9, "b": 0}, 20, 1, 0.9)}
    assert list(found) == [
        "min_test_items",
        "min_class_test_items",
        "accuracy_low > majority_share",
        "min_accuracy_gain",
    ]
    assert found["min_test_items"] == "the test split has 9 items, fewer than 20"
    assert found["min_class_test_items"].endswith("fewer than 1 items of 'b'")
    assert list(unreachable({"a": 1, "b": 1})) != []


def test_near_duplicates_of_training_items_do_not_count():
    [few] = unreachable({"a": 6, "b": 6}, 20, twins=18)
    assert few[1] == (
        "the test split has 12 items without the 18 near duplicates of training items, fewer than "
        "20"
    )
    [none, _] = unreachable({"a": 0, "b": 0}, 20, 1, twins=18)
    assert none[2] == (
        "Add test items that are no near duplicates of training items, or set respect_splits of "
        "snapshot_data to false"
    )
