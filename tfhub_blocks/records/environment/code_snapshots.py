"""Which code a step consists of: its component.py and the modules of ours that it imports.

With them travels the lock of the environment that it is pinned to, for the step to compare.
"""

import ast
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.environment.environment_definitions import read_definition
from tfhub_blocks.records.environment.environment_references import environment_reference
from tfhub_blocks.records.environment.package_locks import step_lock_path

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
        importer = waiting.pop()
        imported = _imports(str(importer), importer.read_text(encoding="utf-8"))
        for name, attribute in chain(imported, _public_homes(imported, package)):
            for path in _module_files(name, attribute, package, importer):
                relative = path.relative_to(package.parent).as_posix()
                if relative not in found:
                    found[relative] = path
                    waiting.append(path)
    return dict(sorted(found.items()))


def write_step_package(component: Path, package: Path, folder: Path) -> Path:
    """Write a copy of our package that holds just a step's modules and its lock; give its path."""
    (folder / PACKAGE).mkdir(parents=True)
    modules = step_modules(component, package)
    lock = step_lock(component, package) if modules else None
    if lock is not None:
        step_lock_path(folder / PACKAGE).write_text(lock, encoding="utf-8")
    _write(modules, folder)
    return folder / PACKAGE


def write_program(module: Path, package: Path, folder: Path) -> str:
    """Write a module of our package, and those that it imports; give its path in the folder."""
    relative = module.relative_to(package.parent).as_posix()
    _write({**step_modules(module, package), relative: module}, folder)
    return relative


def _write(modules: Mapping[str, Path], folder: Path) -> None:
    for relative, path in modules.items():
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())


def step_lock(component: Path, package: Path) -> str | None:
    """The lock of the environment that a component names, as its snapshot carries it.

    The definition stands in ``environments`` beside the component's folder, or where the steps
    that are installed with our package have theirs.

    Returns:
        Versions without hashes, the same for the same definition; None if the component names no
        environment of ours, or a version that is not the one defined.

    Raises:
        BlocksError: The lock cannot be read.
    """
    reference = environment_reference(component)
    if reference is None:
        return None
    roots = (component.parent.parent, package / "components")
    for folder in (folder for root in roots for folder in sorted(root.glob("environments/*/"))):
        definition = read_definition(folder)
        if definition.name == reference.name and definition.version == reference.version:
            return definition.lock.step_text(str(reference))
    return None


Imports = tuple[tuple[str, str | None], ...]


# Steps share most modules of the package; a program that loads several parses each module once.
@lru_cache(maxsize=1024)
def _imports(path: str, text: str) -> Imports:
    """Return each module that a file imports, with the name that it takes from it, if any.

    An attribute of the package itself, as in ``tfhub_blocks.step``, counts as taken from it.
    """
    found: list[tuple[str, str | None]] = []
    package_names, attributes = set[str](), set[tuple[str, str]]()
    for node in ast.walk(ast.parse(text, path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.append((alias.name, None))
                if alias.name == PACKAGE or (
                    not alias.asname and alias.name.startswith(f"{PACKAGE}.")
                ):
                    package_names.add(alias.asname or PACKAGE)
        elif isinstance(node, ast.ImportFrom):
            if node.level or any(alias.name == "*" for alias in node.names):
                raise BlocksError(
                    path,
                    f"line {node.lineno}",
                    "this import is relative or a star",
                    "absolute imports of names",
                    f"Write from {PACKAGE}... import NAME",
                )
            found += ((str(node.module), alias.name) for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            attributes.add((node.value.id, node.attr))
    found += ((PACKAGE, name) for owner, name in sorted(attributes) if owner in package_names)
    return tuple(found)


def _public_homes(imported: Imports, package: Path) -> Imports:
    """Return the modules that define the public names among some imports."""
    homes = _homes((package / "__init__.py").read_text(encoding="utf-8"))
    return tuple(
        (homes[attribute], None)
        for name, attribute in imported
        if name == PACKAGE and attribute in homes
    )


@lru_cache
def _homes(text: str) -> dict[str, str]:
    """Return the table of public names in the text of the package's ``__init__.py``."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_HOMES":
            return dict(ast.literal_eval(node.value))
    return {}


def _module_files(
    name: str, attribute: str | None, package: Path, importer: Path
) -> Iterator[Path]:
    """The file of a module of ours and the __init__.py of each package on the way to it."""
    first, *parts = name.split(".")
    if first != PACKAGE:
        return
    folder = package
    yield folder / "__init__.py"
    for number, part in enumerate(parts, 1):
        if (folder / f"{part}.py").is_file() and number == len(parts):
            yield folder / f"{part}.py"
            return
        folder = folder / part
        if not (folder / "__init__.py").is_file():
            raise BlocksError(
                str(importer),
                f"import {name}",
                "there is no such module",
                f"a module of {PACKAGE}",
                "correct its name",
            )
        yield folder / "__init__.py"
    # What is imported from a package may be one of its modules.
    if attribute and (folder / f"{attribute}.py").is_file():
        yield folder / f"{attribute}.py"
    elif attribute and (folder / attribute / "__init__.py").is_file():
        yield folder / attribute / "__init__.py"
