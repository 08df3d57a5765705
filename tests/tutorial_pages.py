"""A tutorial as a program: its commands run in order, and the page shows what they print."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(console|python)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.M | re.S)
# A line of the page that stands for any number of lines.
ANYTHING = "..."


@dataclass(frozen=True)
class Command:
    """A command of a page, and the output that the page shows below the command."""

    line: str
    shown: str


def read_blocks(page: str) -> list[tuple[str, str] | list[Command]]:
    """Return the blocks of a page: files as (name, content), and lists of commands."""
    blocks: list[tuple[str, str] | list[Command]] = []
    for kind, title, text in _BLOCK.findall(page):
        if kind == "console":
            blocks.append(
                [
                    Command(*part.partition("\n")[::2])
                    for part in re.split(r"^\$ ", text, flags=re.M)
                    if part
                ]
            )
        elif title:
            blocks.append((title, text))
    return blocks


def play(page: str, folder: Path, variables: Mapping[str, str]) -> list[tuple[Command, str, int]]:
    """Run all commands of a page in a folder; return each with its output and exit status."""
    played = []
    for block in read_blocks(page):
        if isinstance(block, tuple):
            path = folder / block[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block[1], encoding="utf-8")
            continue
        for command in block:
            done = subprocess.run(
                ["bash", "-c", command.line],
                cwd=folder,
                env=os.environ | dict(variables),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            played.append((command, done.stdout, done.returncode))
    return played


def agrees(shown: str, printed: str) -> bool:
    """Return True if a page shows what was printed, but for times, dates and digests."""
    parts = [re.escape(_normal(line)) for line in shown.splitlines()]
    pattern = "".join(r"(.*\n)*?" if it == re.escape(ANYTHING) else f"{it} *\n" for it in parts)
    return re.fullmatch(pattern, _normal(printed)) is not None


def _normal(text: str) -> str:
    text = re.sub(r"\d{8}T\d{6}Z(-\d+)?", "TIME", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r"\b([0-9a-f]{64}|[0-9a-f]{12})\b", "DIGEST", text)
    return re.sub(r"\b\d+\.\d s\b", "N s", text)
