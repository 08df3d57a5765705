"""The report of an evaluation: one self-contained HTML page.

Styles are inline and pictures are data URIs, so the page looks the same from a mail, an artefact
store or a disk, even in ten years. Every text from outside is escaped, and a content-security
policy forbids scripts and requests.
"""

import base64
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import Template

from tfhub_blocks.compute.evaluation.report_style import PAGE, STYLE
from tfhub_blocks.compute.modalities.modality import Shown
from tfhub_blocks.records.base.folders import Format

FORMAT = Format("report", 1)


@dataclass(frozen=True)
class ThresholdResult:
    """A required threshold and its result."""

    name: str  # such as "Accuracy"
    asked: str  # such as "at least 0.9"
    measured: float
    met: bool


@dataclass(frozen=True)
class MetricRow:
    """A metric of the whole split."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    meaning: str = ""


@dataclass(frozen=True)
class AgainstRow:
    """A metric of the model and of the champion; ``change`` is the model's minus the champion's."""

    name: str
    model: float
    champion: float
    change: float
    interval: tuple[float, float]
    verdict: str  # such as "better"


@dataclass(frozen=True)
class Against:
    """The comparison with the champion: the verdict as a sentence, metrics, and warnings."""

    verdict: str
    rows: Sequence[AgainstRow]
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ClassRow:
    """The metrics of one class, with intervals as (low, high)."""

    label: str
    support: int
    precision: float
    precision_interval: tuple[float, float]
    recall: float
    recall_interval: tuple[float, float]
    average_precision: float


@dataclass(frozen=True)
class ReportFigure:
    """A plot as PNG, with a text alternative for readers who cannot see the plot."""

    title: str
    png: bytes
    alternative: str


@dataclass(frozen=True)
class Mistake:
    """An item with a wrong prediction."""

    item_id: str
    true_label: str
    predicted_label: str
    confidence: float  # 0 to 1
    shown: Shown


@dataclass(frozen=True)
class EvaluationPage:
    """The content of the page, in the order of the page."""

    title: str
    summary: str
    thresholds: Sequence[ThresholdResult]
    metrics: Sequence[MetricRow]
    classes: Sequence[ClassRow]
    figures: Sequence[ReportFigure]
    mistakes: Sequence[Mistake]
    facts: Sequence[tuple[str, str]]
    """The provenance: digests, parameters, durations, as (name, value)."""
    notes: Sequence[str] = ()
    against: Against | None = None


def render_report(report: EvaluationPage) -> str:
    """Return the page as HTML; equal reports give equal texts.

    The verdict is "Passed" if every threshold was met, "Not passed" if any was missed, and
    "No verdict" if the report has no threshold. Intervals are labelled as 95 % intervals.
    """
    sections = [
        _metrics(report.metrics),
        _against(report.against),
        _figures(report.figures),
        _classes(report.classes),
        _mistakes(report.mistakes),
        _facts(report.facts),
        _notes(report.notes),
    ]
    return Template(PAGE).substitute(
        style=STYLE,
        title=html.escape(report.title),
        summary=html.escape(report.summary),
        verdict=_verdict(report.thresholds),
        sections="\n".join(section for section in sections if section),
    )


def _verdict(thresholds: Sequence[ThresholdResult]) -> str:
    if not thresholds:
        return (
            '<section class="verdict open" aria-labelledby="verdict"><h2 id="verdict">No verdict'
            "</h2><p>The evaluation has no thresholds.</p></section>"
        )
    met = sum(threshold.met for threshold in thresholds)
    passed = met == len(thresholds)
    rows = [
        f'<tr><th scope="row">{html.escape(threshold.name)}</th>'
        f"<td>{html.escape(threshold.asked)}</td>"
        f'<td class="number">{_number(threshold.measured)}</td>'
        f'<td class="{"met" if threshold.met else "missed"}">'
        f"{'✓ met' if threshold.met else '✗ missed'}</td></tr>"
        for threshold in thresholds
    ]
    return (
        f'<section class="verdict {"passed" if passed else "failed"}" aria-labelledby="verdict">'
        f'<h2 id="verdict">{"✓ Passed" if passed else "✗ Not passed"}</h2>'
        f"<p>{met} of {len(thresholds)} {_plural('threshold', len(thresholds))} met.</p>"
        + _table(["Threshold", "Required", "Measured", "Result"], rows, numbers={2})
        + "</section>"
    )


def _metrics(metrics: Sequence[MetricRow]) -> str:
    rows = [
        f'<tr><th scope="row">{html.escape(metric.name)} '
        f'<span class="meaning">{html.escape(metric.meaning)}</span></th>'
        f'<td class="number strong">{_number(metric.value)}</td>'
        f'<td class="number">{_interval(metric.interval)}</td></tr>'
        for metric in metrics
    ]
    head = ["Measure", "Value", "95 % interval"]
    return _section("Measures", _table(head, rows, numbers={1, 2})) if rows else ""


def _against(against: Against | None) -> str:
    if against is None:
        return ""
    rows = [
        f'<tr><th scope="row">{html.escape(row.name)}</th>'
        f'<td class="number">{_number(row.champion)}</td>'
        f'<td class="number">{_number(row.model)}</td>'
        f'<td class="number strong">{row.change:+.4f}</td>'
        f'<td class="number">{row.interval[0]:+.4f} to {row.interval[1]:+.4f}</td>'
        f"<td>{html.escape(row.verdict)}</td></tr>"
        for row in against.rows
    ]
    texts = "".join(f"<p>{html.escape(it)}</p>" for it in (against.verdict, *against.warnings))
    head = ["Measure", "Champion", "This model", "Difference", "95 % interval", "Result"]
    title = "Comparison with the champion"
    return _section(title, texts + _table(head, rows, numbers={1, 2, 3, 4}))


def _classes(classes: Sequence[ClassRow]) -> str:
    rows = [
        f'<tr><th scope="row">{html.escape(each.label)}</th>'
        f'<td class="number">{each.support:,}</td>'
        f'<td class="number pair"><b>{_number(each.precision)}</b> '
        f"<small>{_interval(each.precision_interval)}</small></td>"
        f'<td class="number pair"><b>{_number(each.recall)}</b> '
        f"<small>{_interval(each.recall_interval)}</small></td>"
        f'<td class="number">{_number(each.average_precision)}</td></tr>'
        for each in classes
    ]
    head = ["Class", "Items", "Precision", "Recall", "Average precision"]
    lead = "<p>Small numbers are 95 % intervals.</p>"
    title = "Measures by class"
    return _section(title, lead + _table(head, rows, numbers={1, 2, 3, 4})) if rows else ""


def _figures(figures: Sequence[ReportFigure]) -> str:
    drawn = [
        f'<figure><img src="{_data_uri(figure.png, "image/png")}" '
        f'alt="{html.escape(figure.alternative)}">'
        f"<figcaption>{html.escape(figure.title)}</figcaption></figure>"
        for figure in figures
    ]
    return _section("Plots", f'<div class="figures">{"".join(drawn)}</div>') if drawn else ""


def _mistakes(mistakes: Sequence[Mistake]) -> str:
    cards = []
    for mistake in mistakes:
        item = _item(mistake.shown, f"Item {mistake.item_id}, of class {mistake.true_label}")
        cards.append(
            f'<li class="card">{item}<dl>'
            f"<div><dt>Predicted</dt><dd>{html.escape(mistake.predicted_label)} "
            f"<small>{mistake.confidence:.1%}</small></dd></div>"
            f"<div><dt>True</dt><dd>{html.escape(mistake.true_label)}</dd></div>"
            f'<div class="id"><dt>Item</dt><dd><code>{html.escape(mistake.item_id)}</code></dd>'
            "</div></dl></li>"
        )
    lead = (
        "<p>The wrong predictions with the highest confidence. Some may be mistakes in the labels, "
        "not in the model.</p>"
    )
    title = "Most confident mistakes"
    return _section(title, f'{lead}<ul class="cards">{"".join(cards)}</ul>') if cards else ""


def _item(shown: Shown, alternative: str) -> str:
    if not shown.media:
        return f"<blockquote>{html.escape(shown.text)}</blockquote>"
    source, text = _data_uri(shown.media, shown.media_type), html.escape(alternative)
    if shown.media_type.startswith("audio/"):
        return f'<audio controls src="{source}" aria-label="{text}"></audio>'
    return f'<img src="{source}" alt="{text}">'


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = [
        f'<tr><th scope="row">{html.escape(name)}</th><td><code>{html.escape(value)}</code></td>'
        "</tr>"
        for name, value in facts
    ]
    return _section("Provenance", _table(["Fact", "Value"], rows)) if rows else ""


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return _section("Notes", f'<ul class="notes">{items}</ul>') if items else ""


def _section(title: str, body: str) -> str:
    name = title.lower().replace(" ", "-")
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{body}</section>'


def _table(head: Sequence[str], rows: Iterable[str], numbers: Iterable[int] = ()) -> str:
    right = set(numbers)
    cells = "".join(
        f'<th scope="col" class="{"number" if index in right else "text"}">{name}</th>'
        for index, name in enumerate(head)
    )
    body = "\n".join(rows)
    return (
        f'<div class="table"><table><thead><tr>{cells}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def _number(value: float) -> str:
    return f"{value:.4f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{_number(interval[0])} to {_number(interval[1])}"


def _plural(noun: str, count: int) -> str:
    return noun if count == 1 else f"{noun}s"


def _data_uri(content: bytes, media_type: str) -> str:
    return f"data:{html.escape(media_type)};base64,{base64.b64encode(content).decode('ascii')}"
