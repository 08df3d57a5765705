"""The import of a project's own pipeline files, with every failed import of a file reported."""

# decision 100

import ast
import contextlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tfhub_blocks.control.repository.faults import (
    UserLine,
    error_line,
    error_text,
    raise_all,
)
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.import_frames import know_import_frames
from tfhub_blocks.records.base.project_folders import project_folder
from tfhub_blocks.records.base.source_imports import SourceLoader, import_from_source

_NO_NAME = re.compile(
    r"cannot import name '(\w+)' from (?:partially initialized module )?'([\w.]+)'"
)


def load_file(name: str, path: Path) -> ModuleType:
    """Return the module of a pipeline file, imported once.

    Raises:
        BlocksError: The file cannot be imported. The error names the file and the line; if imports
            fail, it names each import of the file that fails.
    """
    if found := sys.modules.get(name):
        return found
    know_import_frames()
    import_from_source()
    if name.startswith("tfhub_blocks."):
        return importlib.import_module(name)
    # As Python does for a script: its neighbours and their parent folder can be imported.
    folder = path.parent.parent if path.name == "__init__.py" else path.parent
    for entry in (folder, folder.parent):
        if str(entry) in sys.path:
            sys.path.remove(str(entry))
        sys.path.insert(0, str(entry))
    _offer_steps()
    try:
        _own_package(name.rpartition(".")[0], folder)
        return _imported(name, path)
    except BlocksError:
        raise
    except ImportError as error:
        raise_all(list(_failed_imports(name, path)) or [_fault(error, path)])
        raise
    except Exception as error:
        raise _fault(error, path) from error


def _imported(name: str, path: Path) -> ModuleType:
    folders = [str(path.parent)] if path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(
        name, path, loader=SourceLoader(name, str(path)), submodule_search_locations=folders
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # no later import may find an incomplete module
        raise
    return module


def _own_package(name: str, folder: Path) -> None:
    """Let relative imports of a pipeline find its neighbours, whatever else is called so."""
    found = sys.modules.get(name)
    if found is not None and str(folder) in getattr(found, "__path__", ()):
        return
    if (folder / "__init__.py").is_file():
        _imported(name, folder / "__init__.py")
        return
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package


def _offer_steps() -> None:
    """Let ``from components import NAME`` find the steps of tfhub-blocks too.

    Pipelines of version 0.1 import them so, and a project's own folder of that name would hide
    the steps. The project's own names come first.
    """
    package = importlib.import_module("tfhub_blocks.components")
    try:
        own = importlib.import_module("components")
    except ImportError as error:
        if error.name != "components":  # the project's own package fails, and says why itself
            return
        sys.modules["components"] = package
        return
    if own is not package and not hasattr(own, "__getattr__"):
        own.__getattr__ = lambda name: getattr(package, name)  # type: ignore[method-assign]


def _fault(error: BaseException, path: Path) -> BlocksError:
    """Return the error of a file that cannot be imported."""
    line = error_line(error) or UserLine(path, 1)
    what = path.stem
    if isinstance(error, ModuleNotFoundError) and error.name:
        problem, what = f"no module is called {error.name!r}", error.name
        known = [it.stem for it in (*project_folder().glob("*.py"), *path.parent.glob("*.py"))]
        remedy = nearest(error.name, known) or f"Install {error.name.partition('.')[0]}, or remove"
        remedy += "" if remedy.endswith("?") else f" line {line.line}"
        return BlocksError(str(line), what, problem, "", remedy)
    if match := _NO_NAME.search(str(error)) if isinstance(error, ImportError) else None:
        what, module = match[1], match[2]
        near = nearest(what, dir(sys.modules.get(module)))
        problem = f"module {module} has no name {what!r}"
        return BlocksError(str(line), what, problem, "", near or f"Edit line {line.line}")
    return BlocksError(str(line), what, error_text(error), "", f"Edit line {line.line}")


def _failed_imports(name: str, path: Path) -> Iterator[BlocksError]:
    """Yield an error for each import at the top of a file that fails."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_bytes(), str(path))
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        code = compile(ast.Module([node], []), str(path), "exec", dont_inherit=True)
        scope = {"__name__": name, "__package__": package, "__file__": str(path)}
        try:
            with contextlib.suppress(BlocksError):
                exec(code, scope)  # noqa: S102  # an import of the file, which the load has run
        except Exception as error:
            yield _fault(error, path)
