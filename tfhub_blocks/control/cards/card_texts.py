"""A card as Markdown and as an HTML page. Text from outside is escaped in both."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.cards.cards import Card, CardTable
from tfhub_blocks.control.lineage.chain_drawing import printable
from tfhub_blocks.control.lineage.drawing_page import escaped, html_page, table

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|!~$&])")


def markdown(card: Card) -> str:
    """Return the card as Markdown."""
    lines = [f"# {_plain(card.title)}", "", _plain(card.summary)]
    for section in card.sections:
        lines += ["", f"## {section.heading}"]
        for block in section.blocks:
            lines += ["", *_markdown_block(block)]
    return "\n".join(lines) + "\n"


def _markdown_block(block: str | tuple[str, ...] | CardTable) -> Iterator[str]:
    if isinstance(block, str):
        yield _plain(block)
    elif isinstance(block, CardTable):
        yield _row(block.head)
        yield "|" + "---|" * len(block.head)
        yield from map(_row, block.rows)
    else:
        yield from (f"- {_plain(item)}" for item in block)


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(map(_plain, cells)) + " |"


def _plain(text: str) -> str:
    """Return a text that Markdown shows unchanged: on one line, with all marks escaped."""
    escaped = _MARKS.sub(r"\\\1", " ".join(printable_words(text)))
    return re.sub(
        r"^(\d+)([.)])(?= |$)|^([-+=])", lambda m: f"{m[1] or ''}\\{m[2] or m[3]}", escaped
    )


def printable_words(text: str) -> list[str]:
    """Return the words of a text, separated by any white space."""
    return printable(" ".join(text.split())).split()


def page(card: Card) -> str:
    """Return the card as a self-contained HTML page."""
    parts = [
        f"<h1>{escaped(card.title)}</h1>",
        f"<p>{escaped(card.summary)}</p>",
    ]
    for section in card.sections:
        parts.append(f"<h2>{escaped(section.heading)}</h2>")
        parts += map(_html_block, section.blocks)
    return html_page(card.title, "\n".join(parts))


def _html_block(block: str | tuple[str, ...] | CardTable) -> str:
    if isinstance(block, str):
        return f"<p>{escaped(block)}</p>"
    if isinstance(block, CardTable):
        return table(block.head, list(block.rows))
    return "<ul>\n" + "\n".join(f"<li>{escaped(item)}</li>" for item in block) + "\n</ul>"
