"""Lines of files for findings: of a step in a pipeline, a port, or a key of a profile."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tfhub_blocks.control.environments.environment_catalog import shown_path


@dataclass(frozen=True)
class SourceLine:
    """A line of a file; line 1 if only the file is known."""

    path: Path
    line: int = 1

    def __str__(self) -> str:
        """Return FILE:LINE, as compilers write it."""
        return f"{self.path.as_posix()}:{self.line}"


# The calls that start a process, or pip in the current one.
_STARTS = re.compile(
    r"(^|\.)(run|call|check_call|check_output|getoutput|getstatusoutput|Popen|system|popen|main"
    r"|exec[lv]\w*|spawn[lv]\w*|posix_spawnp?|create_subprocess_\w+)$"
)


@dataclass(frozen=True)
class Call:
    """A call in a source: the dotted name of the function, and the texts in its arguments."""

    name: str
    texts: tuple[str, ...]
    line: int


class Sources:
    """Files, each read once. A place that cannot be read or found is the file's first line."""

    def __init__(self) -> None:
        self._tree = cache(_tree)
        self._lines = cache(_lines)
        self._nodes = cache(self._assigned)

    def node(self, path: Path, name: str) -> SourceLine:
        """Return the line where a pipeline's file creates a node, else that of its function."""
        lines = self._nodes(path)
        # azure-ai-ml names the nodes of a name that is used again NAME_1, NAME_2 and so on.
        found = lines.get(name) or lines.get(re.sub(r"_\d+$", "", name)) or lines.get("")
        return SourceLine(shown_path(path), found or 1)

    def step(self, path: Path, word: str = "") -> SourceLine:
        """Return the line of a port or decorator argument in a component.py, else the function."""
        for function in self._functions(path):
            if function.decorator_list:
                named: list[ast.arg | ast.keyword] = [*function.args.args]
                for decorator in function.decorator_list:
                    named += decorator.keywords if isinstance(decorator, ast.Call) else []
                found = [it.lineno for it in named if it.arg == word]
                return SourceLine(shown_path(path), (found or [function.lineno])[0])
        return SourceLine(shown_path(path))

    def key(self, path: Path, key: str) -> SourceLine:
        """Return the line of a dotted key in a TOML file, else that of the nearest table."""
        table, line, index = "", 1, -1
        best = (0, 1)
        for line, text in enumerate(self._lines(path), 1):
            if header := re.match(r"\s*\[\[?([^]]+)]", text):
                table = header[1].strip().replace('"', "")
                if text.lstrip().startswith("[["):
                    index += 1
                    table = f"{table}.{index}"
                found = table
            elif pair := re.match(r'\s*"?([\w-]+)"?\s*=', text):
                found = f"{table}.{pair[1]}".lstrip(".")
            else:
                continue
            if f"{key}.".startswith(f"{found}.") and len(found) > best[0]:
                best = (len(found), line)
        return SourceLine(shown_path(path), best[1])

    def text(self, path: Path, part: str) -> SourceLine:
        """Return the first line that contains a text."""
        lines = enumerate(self._lines(path), 1)
        return SourceLine(shown_path(path), next((n for n, text in lines if part in text), 1))

    def calls(self, path: Path) -> list[Call]:
        """Return each call in a source."""
        tree = self._tree(path)
        return [] if tree is None else [_call(it) for it in ast.walk(tree) if type(it) is ast.Call]

    def commands(self, path: Path) -> list[Call]:
        """Return each call that starts a process, and each assigned text that may be a command."""
        tree = self._tree(path)
        named = [it for it in ast.walk(tree) if type(it) is ast.Assign] if tree is not None else []
        assigned = [
            Call("", _texts(it.value), it.lineno) for it in named if type(it.value) in _TEXTS
        ]
        return [*(call for call in self.calls(path) if _STARTS.search(call.name)), *assigned]

    def _functions(self, path: Path) -> Iterator[ast.FunctionDef]:
        tree = self._tree(path)
        body = tree.body if tree is not None else []
        return (it for it in body if isinstance(it, ast.FunctionDef))

    def _assigned(self, path: Path) -> dict[str, int]:
        """Return the line of each name that the pipeline's function sets, and of itself as ''."""
        lines: dict[str, int] = {}
        for function in self._functions(path):
            if function.name == path.stem:
                lines[""] = function.lineno
                for it in ast.walk(function):
                    if isinstance(it, ast.Assign) and isinstance(it.targets[0], ast.Name):
                        lines.setdefault(it.targets[0].id, it.lineno)
        return lines


_TEXTS = (ast.Constant, ast.JoinedStr, ast.List, ast.Tuple)


def _call(call: ast.Call) -> Call:
    return Call(ast.unparse(call.func), _texts(call), call.lineno)


def _texts(tree: ast.AST) -> tuple[str, ...]:
    """Return the texts in an expression, in their order in the source."""
    found = [it for it in ast.walk(tree) if isinstance(it, ast.Constant)]
    found.sort(key=lambda it: (it.lineno, it.col_offset))
    return tuple(it.value for it in found if isinstance(it.value, str))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def _tree(path: Path) -> ast.Module | None:
    try:
        return ast.parse(path.read_bytes(), str(path))
    except (OSError, SyntaxError, ValueError):
        return None
