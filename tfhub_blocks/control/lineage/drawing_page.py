"""A drawing as one self-contained HTML page: no scripts, no requests, and all text escaped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tfhub_blocks.control.lineage.chain_drawing import Box, Drawing
from tfhub_blocks.records.base.foreign_text import printable
from tfhub_blocks.records.base.templates import read_beside, render

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _LINE = 250, 86, 90, 26, 17
_CHARACTERS = 36
_FILLS = {"source": "#eef3f7", "missing": "#fdeceb", "version": "#e6f4ea"}


@dataclass(frozen=True)
class TextTable:
    """A table of texts, with a head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = str | tuple[str, ...] | TextTable
"""A paragraph, a list or a table."""


@dataclass(frozen=True)
class _Curve:
    """An arrow of the picture, from one point to another."""

    label: str
    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def bend(self) -> int:
        return max(40, (self.x1 - self.x0) // 2)


@dataclass(frozen=True)
class _PlacedBox:
    """A box of the picture, with the height of each of its lines."""

    x: int
    y: int
    fill: str
    text: str
    lines: list[tuple[int, str]]
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True)
class _Picture:
    """A drawing with all coordinates, in pixels."""

    width: int
    height: int
    curves: list[_Curve]
    boxes: list[_PlacedBox]


def text_page(
    title: str, summary: Iterable[str], sections: Iterable[tuple[str, Sequence[Block]]]
) -> str:
    """Return a page of texts: the title, the summary, and sections of (heading, blocks)."""
    return _page(title, summary, sections, None)


def drawing_page(drawing: Drawing, summary: Sequence[str] = ()) -> str:
    """Return the drawing as a page: the summary, the drawing from left to right, and a table."""
    rows = tuple(
        (box.title, "; ".join(box.lines), _origins(drawing, name))
        for name, box in drawing.boxes.items()
    )
    details = TextTable(("Item", "How it was produced, and its contents", "Made from"), rows)
    return _page(drawing.title, summary, [("In words", [details])], _picture(drawing))


def _page(
    title: str,
    summary: Iterable[str],
    sections: Iterable[tuple[str, Sequence[Block]]],
    picture: _Picture | None,
) -> str:
    return render(
        __file__,
        title=title,
        summary=summary,
        sections=sections,
        picture=picture,
        style=read_beside(__file__, ".css"),
        printable=printable,
    )


def _origins(drawing: Drawing, name: str) -> str:
    made_from = ((label, start) for start, label, end in drawing.arrows if end == name)
    return "; ".join(f"{label}: {drawing.boxes[start].title}" for label, start in made_from)


def _columns(drawing: Drawing) -> dict[str, int]:
    """Return the number of the column of each box: the longest path of arrows before it."""
    columns = dict.fromkeys(drawing.boxes, 0)
    for _ in drawing.boxes:  # no path is longer
        for start, _label, end in drawing.arrows:
            columns[end] = max(columns[end], min(columns[start] + 1, len(drawing.boxes)))
    return columns


def _picture(drawing: Drawing) -> _Picture:
    columns = _columns(drawing)
    rows: dict[int, int] = {}
    places: dict[str, tuple[int, int]] = {}
    for name, column in columns.items():
        row = rows.get(column, 0)
        rows[column] = row + 1
        places[name] = (column * (_WIDTH + _GAP_X) + 1, row * (_HEIGHT + _GAP_Y) + 1)
    return _Picture(
        (max(rows, default=0) + 1) * (_WIDTH + _GAP_X) - _GAP_X + 2,
        max(rows.values(), default=1) * (_HEIGHT + _GAP_Y) - _GAP_Y + 2,
        [_curve(places[start], label, places[end]) for start, label, end in drawing.arrows],
        [_placed(box, *places[name]) for name, box in drawing.boxes.items()],
    )


def _curve(start: tuple[int, int], label: str, end: tuple[int, int]) -> _Curve:
    middle = _HEIGHT // 2
    return _Curve(label, start[0] + _WIDTH, start[1] + middle, end[0], end[1] + middle)


def _placed(box: Box, x: int, y: int) -> _PlacedBox:
    lines = (box.title, *box.lines)
    shown = enumerate(map(_shortened, lines[:4]))
    return _PlacedBox(
        x,
        y,
        _FILLS.get(box.kind, "#fff"),
        "; ".join(lines),
        [(y + 22 + number * _LINE, line) for number, line in shown],
    )


def _shortened(line: str) -> str:
    return line if len(line) <= _CHARACTERS else f"{line[: _CHARACTERS - 1]}…"
