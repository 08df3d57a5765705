"""A card as Markdown and as an HTML page; what comes from outside is shown and never meant."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.cards.cards import Card, CardTable
from tfhub_blocks.control.lineage.chain_drawing import printable
from tfhub_blocks.control.lineage.drawing_page import escaped, html_page, table

_MEANT = re.compile(r"([\\`*_{}\[\]<>#|!~$&])")


def markdown(card: Card) -> str:
    """The card as Markdown."""
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
    """A text that Markdown shows as it is: on one line, and without a mark that means something."""
    escaped = _MEANT.sub(r"\\\1", " ".join(printable_words(text)))
    return re.sub(
        r"^(\d+)([.)])(?= |$)|^([-+=])", lambda m: f"{m[1] or ''}\\{m[2] or m[3]}", escaped
    )


def printable_words(text: str) -> list[str]:
    """The words of a text, whatever lies between them."""
    return printable(" ".join(text.split())).split()


def page(card: Card) -> str:
    """The card as a page that needs nothing else."""
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
