"""The comment of a review: within its limit, cut in the middle, and nothing in it is obeyed."""

import re
from datetime import date

import pytest

from tfhub_blocks.control.review.guarded_changes import GuardedChange
from tfhub_blocks.control.review.review_markdown import (
    AZURE_BYTES,
    GITHUB_BYTES,
    MARKER,
    cell,
    markdown_text,
)
from tfhub_blocks.control.review.review_tables import Review
from tfhub_blocks.control.review.state_comparison import Comparison, FactChange


def review(facts, guarded=()):
    found = Comparison(
        "a" * 40, "b" * 40, date(2027, 1, 1), (), {"prices": tuple(facts)}, (), (), (), (), ()
    )
    return Review(found, tuple(guarded))


def facts(count, value="x"):
    return [FactChange("prices.toml", f"size{n}", value, f"{value}{n}") for n in range(count)]


@pytest.mark.parametrize("limit", [GITHUB_BYTES, AZURE_BYTES, 5_000])
def test_long_comment_is_cut_in_the_middle_and_says_so(limit):
    text = markdown_text(review(facts(9_000, "é" * 20)), limit)
    assert limit * 0.9 < len(text.encode()) <= limit
    assert "size0 |" in text
    assert "size8999 |" in text
    left_out = int(re.search(r"(\d+) rows left out, because a comment has a limit", text)[1])
    assert len(re.findall(r"\| size\d+ \|", text)) == 9_000 - left_out
    assert text.count("<details>") == text.count("</details>") == 1
    assert text.endswith("</details>\n")


def test_short_comment_is_whole():
    text = markdown_text(review(facts(3)))
    assert text.splitlines()[0] == MARKER
    assert "left out" not in text


def test_texts_of_a_change_are_shown_and_not_obeyed():
    hostile = "</details><img src=x> @team #1 [a](https://e.org) | `x`\n# big \u202e **bold**"
    guarded = GuardedChange("cost_rise", "strict", hostile, "stop")
    text = markdown_text(review([FactChange(hostile, "k", None, hostile)], [guarded]))
    for mark in ("<img", "@team", " #1 ", "](", "https://", "\u202e", "**bold", "| `x"):
        assert mark not in text
    assert text.count("</details>") == 1
    assert cell("a\nb") == "a&#92;nb"


def test_very_long_cell_is_cut_in_its_middle():
    shown = cell("a" * 5000 + "z")
    assert len(shown) < 700
    assert shown.startswith("aaa")
    assert shown.endswith("z")
