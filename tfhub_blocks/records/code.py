"""Which code a step consists of: its component.py and the modules of ours that it imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tfhub_blocks.records.errors import BlocksError

PACKAGE = "tfhub_blocks"


def step_modules(component: Path, package: Path) -> dict[str, Path]:
    """The modules of our package that a component imports, transitively, and their packages.

    Imports inside functions count; the rest of the library does not, so that an edit there leaves
    the step's snapshot, and with it the reuse of its outputs, alone.

    Args:
        component: The component.py.
        package: The folder of the ``tfhub_blocks`` package.

    Returns:
        Path by POSIX path relative to the package's parent, sorted.

    Raises:
        BlocksError: An import is relative or a star, which no step can follow, or names nothing.
    """
    found: dict[str, Path] = {}
    waiting = [component]
    while waiting:
        for name in _imported_names(waiting.pop()):
            for path in _module_files(name, package):
                relative = path.relative_to(package.parent).as_posix()
                if relative not in found:
                    found[relative] = path
                    waiting.append(path)
    return dict(sorted(found.items()))


def write_step_package(component: Path, package: Path, folder: Path) -> Path:
    """Write a copy of our package that holds just a step's modules; give its path."""
    (folder / PACKAGE).mkdir(parents=True)
    for relative, path in step_modules(component, package).items():
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder / PACKAGE


def _imported_names(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level or any(alias.name == "*" for alias in node.names):
                raise BlocksError(
                    str(path),
                    f"line {node.lineno}",
                    "this import is relative or a star",
                    "absolute imports of names",
                    f"write it as: from {PACKAGE}... import NAME",
                )
            # A name imported from a package may be one of its modules.
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_files(name: str, package: Path) -> Iterator[Path]:
    """The file of a module of ours and the __init__.py of each package on the way to it."""
    parts = name.split(".")
    if parts[0] != PACKAGE:
        return
    folder = package
    for part in parts[1:]:
        yield folder / "__init__.py"
        if (folder / f"{part}.py").is_file():
            yield folder / f"{part}.py"
            return
        if not (folder / part).is_dir():
            return
        folder = folder / part
    yield folder / "__init__.py"
