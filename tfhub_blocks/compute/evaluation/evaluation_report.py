"""The report of an evaluation: one self-contained HTML page.

Styles are inline and pictures are data URIs, so the page looks the same from a mail, an artefact
store or a disk, even in ten years. Every text from outside is escaped, and a content-security
policy forbids scripts and requests.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tfhub_blocks.compute.modalities.modality import Shown
from tfhub_blocks.records.base.folders import Format
from tfhub_blocks.records.base.templates import render, shared_style

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
    """The metrics of one class, with intervals as (low, high); None was not measured."""

    label: str
    support: int
    precision: float | None
    precision_interval: tuple[float, float] | None
    recall: float | None
    recall_interval: tuple[float, float] | None
    average_precision: float | None


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
    return render(__file__, report=report, style=report_style())


def report_style() -> str:
    """Return the style of reports, for a page of another template too."""
    return shared_style()
