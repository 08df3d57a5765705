"""The environment that a component names, in a literal in its component.py."""

import ast
from dataclasses import dataclass
from pathlib import Path

DECORATOR = "command_component"
PREFIX = "azureml:"


@dataclass(frozen=True)
class Reference:
    """The environment that a component.py names, in the bytes ``start`` to ``end`` of the file.

    ``version`` is empty if the reference has none, and begins with ``@`` if it is a label.
    """

    component: Path
    name: str
    version: str
    start: int
    end: int

    def __str__(self) -> str:
        """Return the reference for messages, such as ``NAME:VERSION``."""
        colon = "" if self.version.startswith("@") or not self.version else ":"
        return f"{self.name}{colon}{self.version}"

    def rewrite(self, version: str) -> None:
        """Write another version into component.py; only that literal changes."""
        source = self.component.read_bytes()
        literal = f'"{PREFIX}{self.name}:{version}"'.encode()
        self.component.write_bytes(source[: self.start] + literal + source[self.end :])


def environment_reference(component: Path) -> Reference | None:
    """Return the environment that a component.py names as a literal, or None."""
    source = component.read_bytes()
    for node in ast.walk(ast.parse(source, str(component))):
        if not (isinstance(node, ast.Call) and _called(node) == DECORATOR):
            continue
        for keyword in node.keywords:
            value = keyword.value
            if keyword.arg == "environment" and isinstance(value, ast.Constant):
                return _reference(component, source, value)
    return None


def _called(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _reference(component: Path, source: bytes, value: ast.Constant) -> Reference:
    text = str(value.value).removeprefix(PREFIX)
    name, label, version = text.partition("@")
    if text.startswith("//"):  # azureml://registries/.../environments/NAME/versions/VERSION
        name, label, version = text.partition("/versions/")[0], "", text.partition("/versions/")[2]
    elif not label:
        name, colon, version = text.rpartition(":")
        name = name if colon else text
        version = version if colon else ""
    lines = source.splitlines(keepends=True)

    def position(line: int, column: int) -> int:
        return sum(map(len, lines[: line - 1])) + column

    end = position(value.end_lineno or value.lineno, value.end_col_offset or 0)
    start = position(value.lineno, value.col_offset)
    return Reference(component, name, label + version, start, end)
