"""The code snapshot of a step: its component.py and the tfhub-blocks modules that it imports.

The snapshot also contains the templates of these modules, and the lock of the step's environment,
so that the step can compare it with the installed packages.
"""

# decisions 6, 7 and 55

import ast
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain
from pathlib import Path

from tfhub_blocks.records.base.digests import CACHE_FOLDERS, copy_file, source_files
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.environment.environment_definitions import read_definition
from tfhub_blocks.records.environment.environment_references import environment_reference
from tfhub_blocks.records.environment.package_locks import step_lock_path

PACKAGE = "tfhub_blocks"
TEMPLATE_SUFFIXES = (".html", ".css", ".js")


def step_modules(component: Path, package: Path) -> dict[str, Path]:
    """Return the tfhub-blocks modules that a component imports, transitively, and their packages.

    Imports inside functions count. The rest of the library does not count, so an edit there changes
    neither the step's snapshot nor the reuse of its outputs.

    Args:
        component: The component.py.
        package: The folder of the ``tfhub_blocks`` package.

    Returns:
        Each module's path, by POSIX path relative to the package's parent, sorted.

    Raises:
        BlocksError: An import is relative or a star import, or names no module.
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


def copy_code(source: Path, folder: Path) -> None:
    """Copy code into a folder that may be absent. Python's bytecode caches are left out.

    Raises:
        BlocksError: The code contains a link to a folder, a broken link or a device.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, path in source_files(source, omit=CACHE_FOLDERS).items():
        copy_file(path, folder / name)


def write_step_package(component: Path, package: Path, folder: Path) -> Path:
    """Write a copy of the package with only a step's modules and its lock, and return its path.

    The copy contains the templates of the modules, too.
    """
    (folder / PACKAGE).mkdir(parents=True)
    modules = step_modules(component, package)
    lock = step_lock(component, package) if modules else None
    if lock is not None:
        step_lock_path(folder / PACKAGE).write_text(lock, encoding="utf-8")
    _write(modules, folder)
    return folder / PACKAGE


def write_program(module: Path, package: Path, folder: Path) -> str:
    """Write a module of the package with its imports, and return its path in the folder.

    The folder contains the templates of all these modules, too.
    """
    relative = module.relative_to(package.parent).as_posix()
    _write({**step_modules(module, package), relative: module}, folder)
    return relative


def _write(modules: Mapping[str, Path], folder: Path) -> None:
    for relative, module in modules.items():
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in (module, *_templates(module)):
            (target.parent / path.name).write_bytes(path.read_bytes())


def _templates(module: Path) -> list[Path]:
    """Return the files that `records.base.templates` reads for a module."""
    found = (module.with_suffix(suffix) for suffix in TEMPLATE_SUFFIXES)
    return [path for path in found if path.is_file()]


def step_lock(component: Path, package: Path) -> str | None:
    """Return the lock of a component's environment, as the code snapshot contains it.

    The definition is in ``environments`` next to the component's folder, or next to the steps that
    tfhub-blocks installs.

    Returns:
        Versions without hashes, the same text for the same definition. None if the component names
        no environment that is defined there, or another version of it.

    Raises:
        BlocksError: The lock cannot be read.
    """
    reference = environment_reference(component)
    if reference is None:
        return None
    # The step lies in components/NAME or in components/operations/NAME.
    roots = (*component.parents[1:3], package / "components")
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
                    f"the import in line {node.lineno} is relative or a star import",
                    "absolute imports of names",
                    f"Write it as: from {PACKAGE}... import NAME",
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
    """Yield the file of a tfhub-blocks module, and the __init__.py of each package above it."""
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
                f"module {name} does not exist",
                f"a module of {PACKAGE}",
                f"Change the import in {importer}",
            )
        yield folder / "__init__.py"
    # A name imported from a package may be one of its modules.
    if attribute and (folder / f"{attribute}.py").is_file():
        yield folder / f"{attribute}.py"
    elif attribute and (folder / attribute / "__init__.py").is_file():
        yield folder / attribute / "__init__.py"
