"""The list of the ways, as it stands in the docs."""

from importlib import import_module
from pathlib import Path

from ways import WAYS

DOCS = "docs/boundary.md"
BEGIN, END = "<!-- The ways: UPDATE_GOLDENS=1 pytest tests/boundary -->", "<!-- End of the ways -->"

for file in sorted(Path(__file__).parent.glob("*_ways.py")):
    import_module(file.stem)


def listed(text: str) -> str:
    """The text of the page, with the list as it has to be."""
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{_ways()}\n{END}{after}"


def _ways() -> str:
    surfaces = dict.fromkeys(way.surface for way in WAYS.values())
    return "\n".join(_surface(title) for title in surfaces)


def _surface(title: str) -> str:
    rows = [
        f"| {it.deed} | {it.told.replace('|', chr(92) + '|')} | `{it.name}` |"
        for it in WAYS.values()
        if it.surface == title
    ]
    return "\n".join(
        [f"### {title}\n", "| somebody may | what is told | case |", "|---|---|---|", *rows, ""]
    )
