"""A card as Markdown and as an HTML page. Text from outside is escaped in both."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.cards.cards import Card
from tfhub_blocks.control.lineage.drawing_page import Block, TextTable, text_page
from tfhub_blocks.records.base.foreign_text import printable

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|!~$&])")


def markdown(card: Card) -> str:
    """Return the card as Markdown."""
    lines = [f"# {_plain(card.title)}", "", _plain(card.summary)]
    for section in card.sections:
        lines += ["", f"## {section.heading}"]
        for block in section.blocks:
            lines += ["", *_markdown_block(block)]
    return "\n".join(lines) + "\n"


def _markdown_block(block: Block) -> Iterator[str]:
    if isinstance(block, str):
        yield _plain(block)
    elif isinstance(block, TextTable):
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
    sections = [(section.heading, section.blocks) for section in card.sections]
    return text_page(card.title, [card.summary], sections)
