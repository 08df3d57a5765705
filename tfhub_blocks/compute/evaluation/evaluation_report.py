"""The report of an evaluation: one HTML page that needs nothing else.

Styles are inline and pictures are data URIs, so the page reads the same from a mail, an artefact
store or a disk, in ten years too. Every text that comes from outside is escaped, and a
content-security policy forbids scripts and requests.
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
    """A condition that was asked for, and whether it was met."""

    name: str  # such as "Accuracy"
    asked: str  # such as "at least 0.9"
    measured: float
    met: bool


@dataclass(frozen=True)
class MetricRow:
    """A number about the whole split."""

    name: str
    value: float
    interval: tuple[float, float] | None = None
    meaning: str = ""


@dataclass(frozen=True)
class AgainstRow:
    """A measure of the model and of the champion; ``change`` is the one less the other."""

    name: str
    model: float
    champion: float
    change: float
    interval: tuple[float, float]
    verdict: str  # such as "better"


@dataclass(frozen=True)
class Against:
    """The model against the champion: the verdict in a sentence, measures, what limits it."""

    verdict: str
    rows: Sequence[AgainstRow]
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class ClassRow:
    """The numbers of one class, intervals as (low, high)."""

    label: str
    support: int
    precision: float
    precision_interval: tuple[float, float]
    recall: float
    recall_interval: tuple[float, float]
    average_precision: float


@dataclass(frozen=True)
class ReportFigure:
    """A PNG, and what someone who cannot see it should know."""

    title: str
    png: bytes
    alternative: str


@dataclass(frozen=True)
class Mistake:
    """An item that the model got wrong."""

    item_id: str
    true_label: str
    predicted_label: str
    confidence: float  # 0 to 1
    shown: Shown


@dataclass(frozen=True)
class EvaluationPage:
    """All that the page says, in its order."""

    title: str
    summary: str
    thresholds: Sequence[ThresholdResult]
    metrics: Sequence[MetricRow]
    classes: Sequence[ClassRow]
    figures: Sequence[ReportFigure]
    mistakes: Sequence[Mistake]
    facts: Sequence[tuple[str, str]]
    """How it came to be: digests, parameters, durations, as (name, value)."""
    notes: Sequence[str] = ()
    against: Against | None = None


def render_report(report: EvaluationPage) -> str:
    """Return the page. The same report gives the same text.

    The verdict is "Passed" where every threshold was met, "Not passed" where one was missed, and
    says so where none was asked for. Intervals are labelled as 95 % intervals.
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
            "</h2><p>No thresholds were asked for.</p></section>"
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
        + _table(["ThresholdResult", "Asked for", "Measured", "Result"], rows, numbers={2})
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
    told = "".join(f"<p>{html.escape(it)}</p>" for it in (against.verdict, *against.warnings))
    head = ["Measure", "Champion", "This model", "Difference", "95 % interval", "This model is"]
    return _section("Against the champion", told + _table(head, rows, numbers={1, 2, 3, 4}))


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
    return (
        _section("Class by class", lead + _table(head, rows, numbers={1, 2, 3, 4})) if rows else ""
    )


def _figures(figures: Sequence[ReportFigure]) -> str:
    drawn = [
        f'<figure><img src="{_data_uri(figure.png, "image/png")}" '
        f'alt="{html.escape(figure.alternative)}">'
        f"<figcaption>{html.escape(figure.title)}</figcaption></figure>"
        for figure in figures
    ]
    return _section("Figures", f'<div class="figures">{"".join(drawn)}</div>') if drawn else ""


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
        "<p>Where the model was surest and wrong. Some may be mistakes of the labels rather than "
        "the model's.</p>"
    )
    title = "Most confident mistakes"
    return _section(title, f'{lead}<ul class="cards">{"".join(cards)}</ul>') if cards else ""


def _item(shown: Shown, alternative: str) -> str:
    if not shown.media:
        return f"<blockquote>{html.escape(shown.text)}</blockquote>"
    source, told = _data_uri(shown.media, shown.media_type), html.escape(alternative)
    if shown.media_type.startswith("audio/"):
        return f'<audio controls src="{source}" aria-label="{told}"></audio>'
    return f'<img src="{source}" alt="{told}">'


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = [
        f'<tr><th scope="row">{html.escape(name)}</th><td><code>{html.escape(value)}</code></td>'
        "</tr>"
        for name, value in facts
    ]
    return _section("How it came to be", _table(["Fact", "Value"], rows)) if rows else ""


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
