"""A review as Markdown, for the comment of a pull request."""

from collections.abc import Iterator, Sequence

from tfhub_blocks.control.review.review_tables import Review, Table, details, summary
from tfhub_blocks.records.base.foreign_text import printable

# The comment is found again by this line.
MARKER = "<!-- tfhub-blocks review -->"
# The limits of a comment in bytes: GitHub accepts 262,144 and Azure Repos 150,000.
GITHUB_BYTES, AZURE_BYTES = 200_000, 140_000
# A cell is cut in its middle beyond this number of characters.
_CELL = 600
# These would be read as Markdown, as a mention of a user, or as a link.
_MARKS = {mark: f"&#{ord(mark)};" for mark in "&<>`*[]|~@\\#"}
_OPEN = "Guardrails"


def markdown_text(review: Review, most_bytes: int = GITHUB_BYTES) -> str:
    """Return a review as Markdown of at most a number of bytes.

    The table at the top and the guardrails are visible, and the details are folded. If the text
    would be longer, rows in the middle of the longest tables are left out, and a row says how many.
    """
    tables = list(details(review))
    kept = max([len(it.rows) for it in tables], default=0)
    text = _text(review, tables, kept)
    low = 0
    if len(text.encode()) > most_bytes:
        while kept - low > 1:  # the largest number of rows that fits
            middle = (low + kept) // 2
            fits = len(_text(review, tables, middle).encode()) <= most_bytes
            low, kept = (middle, kept) if fits else (low, middle)
        text = _text(review, tables, low)
    return text


def _text(review: Review, tables: Sequence[Table], most_rows: int) -> str:
    lines = [MARKER, f"### {review.title}", "", cell(review.verdict), ""]
    lines += _table(summary(review), len(summary(review).rows))
    for table in tables:
        if table.title == _OPEN:
            lines += ["", f"**{table.title}**", "", *_table(table, most_rows)]
            continue
        lines += ["", f"<details><summary>{table.title} ({len(table.rows)})</summary>", ""]
        lines += [*_table(table, most_rows), "", "</details>"]
    return "\n".join(lines) + "\n"


def _table(table: Table, most_rows: int) -> Iterator[str]:
    yield _row(table.columns)
    yield "|".join(["", *("---" for _ in table.columns), ""])
    rows = table.rows
    if len(rows) <= most_rows:
        yield from map(_row, rows)
        return
    first = (most_rows + 1) // 2
    last = len(rows) - most_rows // 2
    yield from map(_row, rows[:first])
    told = f"{last - first} rows left out, because a comment has a limit; `tfhub-blocks review` "
    yield "|".join(["", f" {told}lists all ", *(" " for _ in table.columns[1:]), ""])
    yield from map(_row, rows[last:])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(cell, cells))} |"


def cell(text: str) -> str:
    """Return a text so that Markdown shows it as it is, on one line, cut if it is very long."""
    shown = printable(text)
    if len(shown) > _CELL:
        half = _CELL // 2
        shown = f"{shown[:half]} … {shown[-half:]}"
    shown = "".join(_MARKS.get(mark, mark) for mark in shown)
    return shown.replace("://", "&#58;//")
