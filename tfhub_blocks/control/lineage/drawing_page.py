"""A drawing as one self-contained HTML page: no scripts, no requests, and all text escaped."""

import html
from collections.abc import Iterator, Sequence

from tfhub_blocks.control.lineage.chain_drawing import Box, Drawing, printable

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _LINE = 250, 86, 90, 26, 17
_CHARACTERS = 36
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #1c2733; background: #fff; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
svg text { font: 12px system-ui, sans-serif; fill: #1c2733; }
svg .title { font-weight: 600; } svg .label { fill: #52606d; }
.drawing { overflow-x: auto; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top;
padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #d9e0e6; overflow-wrap: anywhere; }
"""
_FILLS = {"source": "#eef3f7", "missing": "#fdeceb", "version": "#e6f4ea"}


def html_page(title: str, body: str) -> str:
    """Return a complete page around a body that is HTML already."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{escaped(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"{body}\n</body>\n</html>\n"
    )


def escaped(text: object) -> str:
    """Escape a text from outside for HTML."""
    return html.escape(printable(str(text)))


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    """Return a table of texts as HTML."""
    heads = "".join(f'<th scope="col">{escaped(name)}</th>' for name in head)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def drawing_page(drawing: Drawing, summary: Sequence[str] = ()) -> str:
    """Return the drawing as a page: the summary, the drawing from left to right, and a table."""
    rows: list[tuple[object, ...]] = [
        (box.title, "; ".join(box.lines), _origins(drawing, name))
        for name, box in drawing.boxes.items()
    ]
    details = table(("Item", "How it was produced, and its contents", "Made from"), rows)
    summed_up = "".join(f"<p>{escaped(line)}</p>\n" for line in summary)
    return html_page(
        drawing.title,
        f"<h1>{escaped(drawing.title)}</h1>\n{summed_up}"
        f'<div class="drawing">{_svg(drawing)}</div>\n'
        f"<h2>In words</h2>\n{details}",
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


def _svg(drawing: Drawing) -> str:
    columns = _columns(drawing)
    rows: dict[int, int] = {}
    places: dict[str, tuple[int, int]] = {}
    for name, column in columns.items():
        row = rows.get(column, 0)
        rows[column] = row + 1
        places[name] = (column * (_WIDTH + _GAP_X) + 1, row * (_HEIGHT + _GAP_Y) + 1)
    width = (max(rows, default=0) + 1) * (_WIDTH + _GAP_X) - _GAP_X + 2
    height = max(rows.values(), default=1) * (_HEIGHT + _GAP_Y) - _GAP_Y + 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" '
        f'aria-label="{escaped(drawing.title)}">'
    ]
    for start, label, end in drawing.arrows:
        parts += _arrow(places[start], escaped(label), places[end])
    for name, box in drawing.boxes.items():
        parts += _box(box, *places[name])
    return "\n".join([*parts, "</svg>"])


def _arrow(start: tuple[int, int], label: str, end: tuple[int, int]) -> Iterator[str]:
    x0, y0 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x1, y1 = end[0], end[1] + _HEIGHT // 2
    bend = max(40, (x1 - x0) // 2)
    yield (
        f'<path d="M{x0} {y0} C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}" fill="none" '
        'stroke="#8fa3b5"/>'
    )
    yield f'<circle cx="{x1}" cy="{y1}" r="3" fill="#52606d"/>'
    yield f'<text class="label" x="{x1 - 8}" y="{y1 - 6}" text-anchor="end">{label}</text>'


def _box(box: Box, x: int, y: int) -> Iterator[str]:
    fill = _FILLS.get(box.kind, "#fff")
    yield f"<g><title>{escaped('; '.join((box.title, *box.lines)))}</title>"
    yield (
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{fill}" '
        'stroke="#52606d"/>'
    )
    for number, line in enumerate((box.title, *box.lines)[:4]):
        kind = ' class="title"' if number == 0 else ""
        shown = line if len(line) <= _CHARACTERS else f"{line[: _CHARACTERS - 1]}…"
        place = f'x="{x + 10}" y="{y + 22 + number * _LINE}"'
        yield f"<text{kind} {place}>{escaped(shown)}</text>"
    yield "</g>"
