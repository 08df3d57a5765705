import hashlib
from pathlib import Path

import pytest

from tfhub_blocks.compute.data.draws import draw


@pytest.fixture
def drawn(tmp_path):
    """Draws from rows of label and text; gives label and text of each item drawn."""

    def make(rows: list[tuple[str, str]], items: int):
        number = len(list(tmp_path.iterdir()))
        source = tmp_path / f"{number}.csv"
        source.write_text("text,label\n" + "".join(f"{text},{label}\n" for label, text in rows))
        found = draw(source, items, tmp_path / f"{number}", "test", lambda *_: None)
        return found, [
            (row["label"], row["content"].decode())
            for batch in found.snapshot.batches()
            for row in batch.to_pylist()
        ]

    return make


def rows(**sizes: int) -> list[tuple[str, str]]:
    return [(label, f"{label} {index}") for label, size in sizes.items() for index in range(size)]


def labels(items) -> dict[str, int]:
    return {label: sum(each == label for each, _ in items) for label in ("a", "b", "c")}


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (30, {"a": 10, "b": 10, "c": 10}),
        (100, {"a": 45, "b": 40, "c": 15}),  # c gives all it has
        (1000, {"a": 200, "b": 40, "c": 15}),
    ],
)
def test_classes_are_even_as_far_as_they_go(drawn, items, expected):
    found, given = drawn(rows(a=200, b=40, c=15), items)
    assert labels(given) == expected == dict(found.snapshot.manifest.counts["train"])
    assert len(set(given)) == sum(expected.values())


def test_smallest_hashes_are_drawn_whatever_the_order(drawn):
    source = rows(a=50, b=50)
    (_, first), (_, second) = drawn(source, 20), drawn(source[::-1], 20)
    assert first == second
    by_hash = sorted(source, key=lambda row: hashlib.sha256(row[1].encode()).digest())
    assert set(first) == {
        row for label in "ab" for row in [row for row in by_hash if row[0] == label][:10]
    }


def test_larger_draw_holds_the_smaller_one(drawn):
    source = rows(a=50, b=50)
    assert set(drawn(source, 20)[1]) < set(drawn(source, 40)[1])


def test_content_counts_once_and_contradictions_not_at_all(drawn):
    source = rows(a=6, b=6)
    both = [("a", "either"), ("b", "either")]
    found, given = drawn([*source, *source, *both, ("", "unlabelled")], 100)
    assert sorted(given) == source
    assert found.rejected == 1


def test_copies_take_no_place_of_others(drawn):
    source = rows(a=12, b=12)
    assert len(drawn(source * 5, 8)[1]) == 8


def test_draw_leaves_the_source_alone(drawn, tmp_path: Path):
    drawn(rows(a=5, b=5), 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0", "0.csv"]
