"""The reason of each skipped test says what to do."""

import ast
from collections.abc import Iterator
from pathlib import Path

from browser import MISSING

FOLDER = Path(__file__).parent
# Reasons that are made elsewhere, by the name under which a skip takes them.
NAMED = {"MISSING": MISSING, "missing": "Run `make azurite`"}
INSTRUCTIONS = ("Run ", "Install ", "set it ")


def reasons(path: Path) -> Iterator[tuple[int, ast.expr | None]]:
    """The line and the reason of each skip of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        match ast.unparse(node.func):
            case "pytest.skip":
                yield node.lineno, node.args[0]
            case "pytest.mark.skipif" | "pytest.mark.skip":
                yield node.lineno, named.get("reason")
            case "pytest.importorskip":
                yield node.lineno, None


def test_every_reason_to_skip_is_an_instruction():
    found = {
        f"{path.relative_to(FOLDER)}:{line}": reason
        for path in sorted(FOLDER.rglob("*.py"))
        for line, reason in reasons(path)
    }
    assert len(found) > 10
    without = {}
    for place, reason in found.items():
        text = NAMED.get(ast.unparse(reason), ast.unparse(reason)) if reason else ""
        if not any(instruction in text for instruction in INSTRUCTIONS):
            without[place] = text
    assert without == {}
