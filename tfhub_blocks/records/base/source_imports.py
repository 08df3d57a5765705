"""Imports of a project's code from its source: bytecode caches are neither read nor written."""

# decisions 60 and 61

import sys
import sysconfig
from collections.abc import Callable
from functools import cache
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
)
from pathlib import Path
from types import CodeType

from tfhub_blocks.records.base.project_folders import package_folder, project_folder, taken_commit

Check = Callable[[Path, bytes], None]
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_GROUPS = ("components", "pipelines")
_checks: list[Check] = []
# The folders for which older finders were removed from Python's cache.
_swept: list[object] = []


class SourceLoader(SourceFileLoader):
    """A loader that compiles the source at each import, after the checks of production."""

    def get_code(self, fullname: str) -> CodeType:
        """Return the compiled source of a module."""
        path = self.get_filename(fullname)
        source = self.get_data(path)
        for check in _checks if taken_commit() else ():
            check(Path(path), source)
        return self.source_to_code(source, path)


def import_from_source() -> None:
    """Import the project's modules from their source from now on.

    Installed packages keep their caches, also those in a virtual environment inside the project.
    """
    if _find_source not in sys.path_hooks:
        sys.path_hooks.insert(0, _find_source)
    state = (Path.cwd(), taken_commit(), package_folder())
    if _swept == [state]:
        return
    _swept[:] = [state]
    for entry in [it for it in sys.path_importer_cache if _is_of_project(it)]:
        if not isinstance(sys.path_importer_cache[entry], _SourceFinder):
            del sys.path_importer_cache[entry]


def check_sources(check: Check) -> None:
    """Call a function with each source of a taken commit before the source runs."""
    _checks[:] = [check]


def forget_modules(folder: Path) -> None:
    """Forget steps, pipelines and modules of a folder, so that the next import reads them again."""
    roots = tuple(f"{parent}{group}." for parent in ("", "tfhub_blocks.") for group in _GROUPS)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        is_source = isinstance(getattr(module, "__loader__", None), SourceLoader)
        is_there = is_source and file is not None and Path(file).is_relative_to(folder)
        if is_there or f"{name}.".startswith(roots):
            del sys.modules[name]
    finders = sys.path_importer_cache
    for entry in [it for it, found in finders.items() if isinstance(found, _SourceFinder)]:
        del finders[entry]


def is_installed(path: Path) -> bool:
    """Return True if a file or folder belongs to Python itself or to its installed packages."""
    return bool(_INSTALLED & set(path.parts)) or any(
        path.is_relative_to(it) for it in _library_folders()
    )


@cache
def _library_folders() -> tuple[Path, ...]:
    """Return where Python's own modules are."""
    library = Path(sysconfig.get_path("stdlib"))
    zipped = library.parent / f"python{sys.version_info[0]}{sys.version_info[1]}.zip"
    return library, Path(sysconfig.get_path("platstdlib")), zipped


class _SourceFinder(FileFinder):
    """A finder of sources, without that of bytecode that has no source."""


def _find_source(entry: str) -> _SourceFinder:
    if not _is_of_project(entry):
        raise ImportError(f"{entry} is not in the project")
    loaders = [(SourceLoader, SOURCE_SUFFIXES)]
    if taken_commit() is None:
        return _SourceFinder(entry, (ExtensionFileLoader, EXTENSION_SUFFIXES), *loaders)
    return _SourceFinder(entry, *loaders)


def _is_of_project(entry: str) -> bool:
    """Return True if a folder of the import path belongs to the project or its private copy."""
    folder = Path(entry or ".").absolute()
    if is_installed(folder):
        return False
    taken = taken_commit()
    if taken is not None and folder.is_relative_to(taken.root):
        return True
    package = package_folder()
    if folder.is_relative_to(package):  # the program itself, but for the steps and pipelines
        return any(folder.is_relative_to(package / group) for group in _GROUPS)
    return folder.is_dir() and folder.is_relative_to(project_folder())
