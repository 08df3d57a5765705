"""The report of a monitoring: one self-contained HTML page, like that of an evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass

from tfhub_blocks.compute.evaluation.evaluation_report import ReportFigure, report_style
from tfhub_blocks.compute.modalities.modality import Shown
from tfhub_blocks.records.base.templates import render
from tfhub_blocks.records.formats.drift_records import DriftRecord


@dataclass(frozen=True)
class Neighbour:
    """An item beside the nearest item of the other group; ``shown`` is None if it is not at hand.

    ``rarity`` is the share of held-out items that are as far from their nearest training item.
    """

    name: str
    shown: Shown | None
    other_name: str
    other_shown: Shown | None
    distance: float
    rarity: float


@dataclass(frozen=True)
class MonitoringPage:
    """The content of the page, in the order of the page."""

    record: DriftRecord
    figures: Sequence[ReportFigure]
    novel: Sequence[Neighbour]
    gone: Sequence[Neighbour]
    to_label: int
    facts: Sequence[tuple[str, str]]


def render_monitoring(page: MonitoringPage) -> str:
    """Return the page as HTML; equal pages give equal texts."""
    return render(__file__, page=page, style=report_style())
