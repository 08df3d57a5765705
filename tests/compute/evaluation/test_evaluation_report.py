"""The report's page.

After an intended change of the page, `UPDATE_GOLDENS=1 pytest tests/compute/evaluation` writes
`goldens/report.html` anew; look at it in a browser before committing it.
"""

import base64
import dataclasses
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tfhub_blocks.compute.evaluation.evaluation_report import (
    Against,
    AgainstRow,
    ClassRow,
    EvaluationPage,
    MetricRow,
    Mistake,
    ReportFigure,
    ThresholdResult,
    render_report,
)
from tfhub_blocks.compute.modalities.modality import Shown

GOLDEN = Path(__file__).parent / "goldens" / "report.html"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
VOID = {"meta", "img", "br", "link", "input", "hr", "source", "base"}
HOSTILE = """<script>alert("1")</script>' & <img src=http://example.invalid/x onerror=1> $title"""


def tiny_report() -> EvaluationPage:
    return EvaluationPage(
        title="Cats and dogs",
        summary="Two classes, 40 test items.",
        thresholds=[
            ThresholdResult("Accuracy", "at least 0.9", 0.925, True),
            ThresholdResult("Calibration error", "at most 0.02", 0.0312, False),
        ],
        metrics=[
            MetricRow(
                "Accuracy", 0.925, (0.84, 0.995), "Fraction of items with a right prediction."
            ),
            MetricRow("Majority class", 0.5),
        ],
        classes=[
            ClassRow("cat", 20, 0.95, (0.8, 1.0), 0.9, (0.75, 1.0), 0.97),
            ClassRow("dog", 1020, 0.9, (0.77, 1.0), 0.95, (0.83, 1.0), 0.96),
        ],
        figures=[ReportFigure("Confusion matrix", PIXEL, "2 cats were predicted as dogs.")],
        mistakes=[
            Mistake("test/1.png", "cat", "dog", 0.987, Shown(media=PIXEL, media_type="image/png")),
            Mistake("row-7", "dog", "cat", 0.612, Shown("It purrs.\nOr does it?")),
        ],
        facts=[("Model", "sha256:" + "0f" * 32), ("Evaluation took", "1.2 s")],
        notes=["Pictures: CC BY 4.0."],
        against=Against(
            "The model is better than the champion.",
            [
                AgainstRow("Accuracy", 0.925, 0.9, 0.025, (0.0051, 0.0449), "better"),
                AgainstRow("Log-loss", 0.31, 0.3, 0.01, (-0.002, 0.022), "no clear difference"),
            ],
            ["The champion may have seen test items."],
        ),
    )


def hostile(value):
    """The same report with every text replaced."""
    if isinstance(value, str):
        return HOSTILE
    if isinstance(value, list | tuple):
        return type(value)(hostile(each) for each in value)
    if dataclasses.is_dataclass(value):
        fields = {
            field.name: hostile(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
        return dataclasses.replace(value, **fields)
    return value


class Page(HTMLParser):
    """Elements and attributes as a browser would see them; fails on tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        assert len(dict(attributes)) == len(attributes), f"attribute twice in <{tag}>"
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def attributes(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize("change", [lambda report: report, hostile], ids=["plain", "hostile"])
def test_page_is_balanced_and_fetches_nothing(change):
    page = Page(render_report(change(tiny_report())))
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "iframe", "object"})
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "srcset", "action"):
            assert (attributes.get(name) or "data:").startswith("data:"), tag
    assert not re.search(r"url\(|@import", "".join(page.texts))


def test_every_text_is_escaped_and_shown_as_it_is():
    text = render_report(hostile(tiny_report()))
    assert "<script" not in text
    plain, page = Page(render_report(tiny_report())), Page(text)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    shown = "".join(page.texts)
    # Title twice, and once: summary; name and condition of 2 thresholds; name and meaning of
    # 2 metrics; of the champion verdict, warning, name and verdict of 2 rows; 2 classes; caption;
    # 2 labels and id of 2 mistakes, 1 text; 2 facts; note.
    assert shown.count(HOSTILE) == 2 + 1 + 4 + 4 + 6 + 2 + 1 + 6 + 1 + 4 + 1
    alternatives = [attributes["alt"] for attributes in page.attributes("img")]
    assert HOSTILE in alternatives


def test_page_serves_those_who_cannot_see_it():
    page = Page(render_report(tiny_report()))
    assert page.attributes("html") == [{"lang": "en"}]
    assert all(attributes.get("alt") for attributes in page.attributes("img"))
    assert all(attributes["scope"] in {"row", "col"} for attributes in page.attributes("th"))
    headings = [tag for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    assert set(headings[1:]) == {"h2"}
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(identifiers)) == len(identifiers)
    assert [a["aria-labelledby"] for a in page.attributes("section")] == identifiers
    assert any(attributes.get("name") == "viewport" for attributes in page.attributes("meta"))


@pytest.mark.parametrize(
    ("met", "verdict"),
    [
        ([True, True], "✓ Passed"),
        ([True, False], "✗ Not passed"),
        ([False], "✗ Not passed"),
        ([], "No verdict"),
    ],
)
def test_verdict_is_passed_only_when_every_threshold_is_met(met, verdict):
    thresholds = [ThresholdResult("Accuracy", "at least 0.9", 0.9, each) for each in met]
    page = Page(render_report(dataclasses.replace(tiny_report(), thresholds=thresholds)))
    start = page.texts.index(verdict)
    assert page.texts[start + 1] == (
        f"{sum(met)} of {len(met)} threshold{'s' * (len(met) != 1)} met."
        if met
        else "The evaluation has no thresholds."
    )


def test_sections_without_content_are_left_out():
    bare = EvaluationPage("Bare", "", [], [], [], [], [], [])
    assert [tag for tag, _ in Page(render_report(bare)).elements if tag == "section"] == ["section"]


def test_tiny_report_looks_as_agreed():
    found = render_report(tiny_report())
    if os.environ.get("UPDATE_GOLDENS") == "1":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(found, encoding="utf-8")
    assert found == GOLDEN.read_text(encoding="utf-8"), "UPDATE_GOLDENS=1 if this is intended"
