"""Print the packages of this project that import each other in a circle, and repeated module names.

The exit status is 1 if there are any. Imports inside functions and under TYPE_CHECKING count.

    python tests/house/package_graph.py
"""

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("tfhub_blocks", "components", "pipelines")
# mldesigner wants a component.py in each step's folder, and Python the name sitecustomize.
MAY_REPEAT = {"component", "sitecustomize"}


def find_modules(checkout: Path) -> dict[str, Path]:
    """Return the path of each module by its dotted name, without following links to folders."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((checkout / folder).rglob("*.py")):
            parts = path.relative_to(checkout).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported_modules(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    """Yield the modules of the project that a module imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            for folder in FOLDERS[1:]:  # reached by links inside tfhub_blocks
                name = name.replace(f"tfhub_blocks.{folder}", folder)
            while name and name not in modules:
                name = name.rpartition(".")[0]
            if name:
                yield name


def package_of(module: str, modules: dict[str, Path]) -> str:
    """Return the package of a module, at most three names deep; a loose module stands alone."""
    parts = module.split(".")
    if parts[0] in FOLDERS[1:]:
        return parts[0]
    is_package = modules[module].stem == "__init__"
    return module if is_package or len(parts) < 3 else ".".join(parts[:-1][:3])


def package_imports(modules: dict[str, Path]) -> dict[str, set[str]]:
    """Return the packages that each package imports."""
    graph: dict[str, set[str]] = defaultdict(set)
    for module, path in modules.items():
        package = package_of(module, modules)
        targets = {package_of(name, modules) for name in imported_modules(path, modules)}
        # Importing from a package runs its __init__ too, which is no edge of its own.
        graph[package] |= {name for name in targets if not f"{package}.".startswith(f"{name}.")}
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of packages that reach each other."""

    def reach(start: str) -> set[str]:
        seen, waiting = set[str](), [start]
        while waiting:
            new = graph.get(waiting.pop(), set()) - seen
            seen |= new
            waiting += new
        return seen

    reached = {name: reach(name) for name in graph}
    groups = {
        tuple(sorted(other for other in reached[name] if name in reached.get(other, ())))
        for name in graph
        if name in reached[name]
    }
    return [list(group) for group in sorted(groups)]


def repeated_names(modules: dict[str, Path]) -> list[list[str]]:
    """Return the modules that share their last name.

    A command's module may have the name of the thing that the command is about.
    """
    names = [
        name
        for name, path in modules.items()
        if path.stem != "__init__" and not name.startswith("tfhub_blocks.commands.")
    ]
    counts = Counter(name.rpartition(".")[2] for name in names)
    repeated = sorted(name for name in counts if counts[name] > 1 and name not in MAY_REPEAT)
    return [[name for name in names if name.rpartition(".")[2] == last] for last in repeated]


def main() -> int:
    """Print circles and repeated names; return 1 if there are any."""
    modules = find_modules(ROOT)
    graph = package_imports(modules)
    found = circles(graph), repeated_names(modules)
    for group in found[0]:
        print("circle:", ", ".join(group))
    for group in found[1]:
        print("repeated:", ", ".join(group))
    edges = sum(map(len, graph.values()))
    print(
        f"{len(graph)} packages, {edges} edges, {len(found[0])} circles, {len(found[1])} repeated"
    )
    return 1 if any(found) else 0


if __name__ == "__main__":
    sys.exit(main())
