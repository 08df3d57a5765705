"""A job as a notebook shows it: the graph with states, the costs, and the plots of reports."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.control.costs.accounts import account
from tfhub_blocks.control.project.run_records import COMPLETED, FINAL, RunRecord
from tfhub_blocks.records.base.templates import render

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _EDGE = 168, 50, 28, 34, 8
_SHOWN = 22
# The address of a picture that the page of a report contains. The page itself may be hostile, so
# that nothing else of it is taken.
_PLOT = re.compile(r'<img\b[^>]*?\bsrc="(data:image/(?:png|jpeg|gif|webp);base64,[A-Za-z0-9+/=]+)"')
_MOST_PLOTS = 8


@dataclass(frozen=True)
class Box:
    """One step in the drawing, with its place in pixels."""

    name: str
    title: str
    note: str
    state: str
    x: int
    y: int


def job_page(record: RunRecord) -> str:
    """Return a piece of HTML that shows a run, complete in itself and without scripts."""
    boxes = _boxes(record)
    costs = account(record)
    reused = sum(step.reused for step in record.steps.values())
    return render(
        __file__,
        record=record,
        boxes=boxes,
        lines=list(_lines(record, boxes)),
        width=max((box.x for box in boxes.values()), default=0) + _WIDTH + _EDGE,
        height=max((box.y for box in boxes.values()), default=0) + _HEIGHT + _EDGE,
        box_width=_WIDTH,
        box_height=_HEIGHT,
        reused=reused,
        cost=f"{costs.actual:.2f} {costs.currency}" if costs.actual and costs.currency else "",
        errors=[(name, step.error) for name, step in record.steps.items() if step.error],
        plots=list(_plots(record)) if record.status in FINAL else [],
        metrics={name: f"{value:.4g}" for name, value in record.metrics.items()},
    )


def _needs(record: RunRecord, name: str) -> set[str]:
    sources = record.steps[name].inputs.values()
    return {it["step"] for it in sources if it.get("step") in record.steps}


def _boxes(record: RunRecord) -> dict[str, Box]:
    """Return the place of each step: below all steps that it needs."""
    levels: dict[str, int] = {}
    for name in record.steps:  # in the order in which they can run
        levels[name] = 1 + max((levels.get(it, 0) for it in _needs(record, name)), default=-1)
    used: dict[int, int] = {}
    boxes = {}
    for name, step in record.steps.items():
        level = levels[name]
        column = used[level] = used.get(level, -1) + 1
        seconds = f"{step.seconds:.1f} s" if step.seconds else ""
        state = "reused" if step.reused else step.status
        boxes[name] = Box(
            name,
            name if len(name) <= _SHOWN else f"{name[: _SHOWN - 1]}…",
            f"{state} {seconds}".strip(),
            state.lower(),
            _EDGE + column * (_WIDTH + _GAP_X),
            _EDGE + level * (_HEIGHT + _GAP_Y),
        )
    return boxes


def _lines(record: RunRecord, boxes: dict[str, Box]) -> Iterator[tuple[int, int, int, int]]:
    """Yield each edge of the graph as the places of its ends."""
    for name, box in boxes.items():
        for maker in sorted(_needs(record, name)):
            start = boxes[maker]
            middle = _WIDTH // 2
            yield start.x + middle, start.y + _HEIGHT, box.x + middle, box.y


def _plots(record: RunRecord) -> Iterator[str]:
    """Yield the addresses of the plots in the reports among a run's outputs."""
    if record.status != COMPLETED:
        return
    count = 0
    for path in map(Path, record.outputs.values()):
        page = path / "report.html"
        if not page.is_file():
            continue
        for plot in _PLOT.findall(page.read_text(encoding="utf-8", errors="replace")):
            if count < _MOST_PLOTS:
                count += 1
                yield plot
