"""Code that a pipeline loads from outside the commit, found in its source before it runs."""

# decision 61

import ast
import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.project_folders import (
    origin_path,
    package_folder,
    project_folder,
    taken_commit,
)
from tfhub_blocks.records.base.source_imports import is_installed

_NAMED = 5
_PROGRAM = "tfhub_blocks"
_LOCK_PATTERN = "components/environments/*/requirements.lock"
_LOCKED = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^]]*])?==", re.M)
# Names whose use runs code that the source does not contain, or changes where imports look.
_REFUSED = {
    "builtins.exec": "runs a text as code",
    "builtins.eval": "runs a text as code",
    "builtins.compile": "compiles a text to code",
    "builtins.__import__": "imports a module whose name the source does not state",
    "builtins.__builtins__": "reaches functions that run a text as code",
    "builtins.breakpoint": "runs a program that a variable names",
    "sys.path": "changes where imports look",
    "sys.path_hooks": "changes where imports look",
    "sys.path_importer_cache": "changes where imports look",
    "sys.meta_path": "changes where imports look",
    "sys.modules": "replaces modules",
    "sys.addaudithook": "runs code during other code",
    "sys.setprofile": "runs code during other code",
    "sys.settrace": "runs code during other code",
    "importlib.util": "loads a file as a module",
    "importlib.machinery": "loads a file as a module",
    "importlib.abc": "loads a file as a module",
    "importlib.reload": "loads a module again",
    "importlib.__import__": "imports a module whose name the source does not state",
    "importlib._bootstrap": "loads a file as a module",
    "importlib._bootstrap_external": "loads a file as a module",
    "pkgutil": "imports modules whose names the source does not state",
    "imp": "loads a file as a module",
    "zipimport": "loads a file as a module",
    "runpy": "runs a file as a program",
    "code": "runs a text as code",
    "codeop": "compiles a text to code",
    "site": "changes where imports look",
    "sitecustomize": "runs before the program",
    "usercustomize": "runs before the program",
    "ctypes": "loads a library of machine code",
    "_ctypes": "loads a library of machine code",
    "cffi": "loads a library of machine code",
    "marshal": "reads code from data",
    "pickle": "runs code that data contains",
    "_pickle": "runs code that data contains",
    "shelve": "runs code that data contains",
    "cloudpickle": "runs code that data contains",
    "dill": "runs code that data contains",
    "joblib": "runs code that data contains",
    "timeit": "runs a text as code",
    "cProfile": "runs a text as code",
    "profile": "runs a text as code",
    "trace": "runs a text as code",
    "bdb": "runs a text as code",
    "pdb": "runs a text as code",
    "doctest": "runs a text as code",
    "types.CodeType": "makes code from data",
    "types.FunctionType": "makes code from data",
}
# Writing with pickle is harmless, and a step may start programs: a rule looks at these.
_HARMLESS = ("pickle.dump", "pickle.dumps", "pickle.HIGHEST_PROTOCOL", "joblib.dump")
_STARTS = re.compile(
    r"subprocess\.\w+|os\.(system|popen|exec\w+|spawn\w+|posix_spawnp?|fork|forkpty|startfile)"
    r"|pty\.spawn|asyncio\.create_subprocess_\w+|multiprocessing(\.\w+)*"
)
_TEXTS = re.compile(r"PYTHON(PATH|HOME|STARTUP|USERBASE)|(.*/)?(site|user)customize(\.py)?|.+\.pth")
# Functions whose first text is a module's name.
_IMPORTERS = ("importlib.import_module",)


class Finding(NamedTuple):
    """A line of a source that loads code from elsewhere, and how."""

    line: int
    problem: str


def check_source(where: str, path: Path, source: bytes) -> None:
    """Check that a file of a taken commit loads code only from known places.

    Known places are the commit, the standard library, the packages that tfhub-blocks requires, and
    those that an environment of the commit locks. The check reads the source before it runs. It
    does not see everything; docs/boundary.md names the rest.

    Raises:
        BlocksError: The file loads code from elsewhere.
    """
    taken = taken_commit()
    if taken is None or _is_own(path, source):
        return
    try:
        tree = ast.parse(source, str(path))
    except (SyntaxError, ValueError):
        return  # the import fails, and names the line
    found = sorted(set(find_foreign_code(tree, path.name == "component.py")))
    if found:
        name = origin_path(path)
        shown = name.relative_to(Path.cwd()) if name.is_relative_to(Path.cwd()) else name
        problem = f"line {found[0].line} {found[0].problem}"
        others = sorted({it.line for it in found} - {found[0].line})
        if others:
            problem += f"; see also line {', '.join(map(str, others[:_NAMED]))}"
        raise BlocksError(
            where,
            str(shown),
            problem,
            "code of the commit, the standard library or locked packages",
            f"Remove line {found[0].line}, or move its code into the repository",
        )


def _is_own(path: Path, source: bytes) -> bool:
    """Return True for a file that is the same in the running tfhub-blocks."""
    import tfhub_blocks

    package = package_folder()
    if not path.is_relative_to(package):
        return False
    running = Path(str(tfhub_blocks.__file__)).parent / path.relative_to(package)
    return running.is_file() and running.read_bytes() == source


def find_foreign_code(tree: ast.AST, is_step: bool) -> Iterator[Finding]:
    """Yield each use of a name that loads code, and each import of an unknown module.

    Args:
        tree: The source.
        is_step: True for a component.py, whose programs a rule of its own checks.
    """
    names = _imported_names(tree)
    documented = set(map(id, _docstrings(tree)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _import_findings(node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from _import_findings(node.lineno, str(node.module))
            for alias in node.names:
                yield from _name_findings(node.lineno, f"{node.module}.{alias.name}", is_step)
        elif isinstance(node, ast.Name | ast.Attribute):
            yield from _name_findings(node.lineno, _dotted(node, names), is_step)
            if isinstance(node, ast.Attribute) and node.attr in _INNER:
                yield Finding(node.lineno, f"uses {node.attr}, which reaches code of other modules")
        elif isinstance(node, ast.Call):
            yield from _call_findings(node, names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            is_text = id(node) not in documented and not is_step
            if is_text and _TEXTS.fullmatch(node.value):
                yield Finding(
                    node.lineno, f"names {node.value!r}, which changes where imports look"
                )


_INNER = frozenset(
    {"__builtins__", "__globals__", "__subclasses__", "__loader__", "__spec__", "__code__"}
    | {"__path__", "__import__"}
)


def _docstrings(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):
            yield node.value


def _imported_names(tree: ast.AST) -> dict[str, str]:
    """Return the full name of each imported name, and of builtins that the source renames."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            names |= {it.asname or it.name: f"{node.module}.{it.name}" for it in node.names}
    return names


def _dotted(node: ast.AST, names: Mapping[str, str]) -> str:
    """Return the full name of an expression such as ``a.b.c``, or an empty text."""
    if isinstance(node, ast.Name):
        return names.get(node.id, f"builtins.{node.id}")
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, names)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def _name_findings(line: int, name: str, is_step: bool) -> Iterator[Finding]:
    if name.startswith(_HARMLESS):
        return
    parts = name.split(".")
    for number in range(1, len(parts) + 1):
        start = ".".join(parts[:number])
        if start in _REFUSED and not (start == name and start in _MODULES):
            yield Finding(line, f"uses {name.removeprefix('builtins.')}, which {_REFUSED[start]}")
            return
    if not is_step and _STARTS.fullmatch(name):
        yield Finding(line, f"uses {name}, which starts another program")


# A module may be imported for its harmless names; each use of another name is found.
_MODULES = frozenset({"pickle", "joblib"})


def _call_findings(call: ast.Call, names: Mapping[str, str]) -> Iterator[Finding]:
    name = _dotted(call.func, names)
    first = call.args[0] if call.args else None
    text = first.value if isinstance(first, ast.Constant) else None
    if name in _IMPORTERS:
        if isinstance(text, str):
            yield from _import_findings(call.lineno, text)
        else:
            yield Finding(call.lineno, "imports a module whose name the source does not state")
    if name == "builtins.getattr" and len(call.args) > 1:
        owner, attribute = _dotted(call.args[0], names), call.args[1]
        if isinstance(attribute, ast.Constant):
            yield from _name_findings(call.lineno, f"{owner}.{attribute.value!s}", is_step=False)
        elif owner.partition(".")[0] in _KEEPERS:
            yield Finding(call.lineno, f"takes a name from {owner} that the source does not state")


_KEEPERS = frozenset({"sys", "os", "importlib", "types", "pickle", "subprocess"})


def _import_findings(line: int, module: str) -> Iterator[Finding]:
    first = module.partition(".")[0]
    problem = _REFUSED.get(module) or _REFUSED.get(first)
    if problem and first not in _MODULES:
        yield Finding(line, f"imports {module}, which {problem}")
        return
    if first == "builtins":
        yield Finding(line, "imports builtins, which reaches functions that run a text as code")
    elif first not in sys.stdlib_module_names and not _is_known(first):
        yield Finding(
            line,
            f"imports {module}, which is neither in the commit, nor in the standard library, nor "
            "in a package that tfhub-blocks requires or an environment locks",
        )


def _is_known(module: str) -> bool:
    if module == _PROGRAM or _is_in_commit(module):
        return True
    owners = {canonicalize_name(name) for name in _distributions().get(module, ())}
    if owners:
        return bool(owners & (_required() | _locked()))
    # A package that only the steps' environments contain is not installed here.
    return canonicalize_name(module) in _locked() and not _is_elsewhere(module)


def _is_in_commit(module: str) -> bool:
    folders = (project_folder(), project_folder() / "pipelines")
    return any(
        (folder / f"{module}.py").is_file() or (folder / module).is_dir() for folder in folders
    )


def _is_elsewhere(module: str) -> bool:
    """Return True if a module would be imported from a folder that no package was installed to."""
    spec = PathFinder.find_spec(module)
    return spec is not None and not is_installed(Path(spec.origin or "."))


@cache
def _distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


@cache
def _required() -> frozenset[str]:
    """Return the packages that tfhub-blocks requires, directly or indirectly."""
    found, waiting = set[tuple[str, str]](), [("tfhub-blocks", "")]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        try:
            lines = distribution(name).requires or ()
        except PackageNotFoundError:
            continue
        for it in map(Requirement, lines):
            if it.marker is None or it.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(it.name), more) for more in ("", *it.extras)]
    return frozenset(name for name, _ in found)


def _locked() -> frozenset[str]:
    """Return the packages that the environments of the commit lock."""
    roots = {project_folder(), package_folder()}
    files = [file for root in roots for file in root.glob(_LOCK_PATTERN)]
    names = (it for file in files for it in _LOCKED.findall(file.read_text("utf-8", "replace")))
    return frozenset(map(canonicalize_name, names))


def check_interpreter(where: str, origin: Path) -> None:
    """Check that no module of the working folder or of PYTHONPATH customized this Python.

    Raises:
        BlocksError: Such a module ran before tfhub-blocks.
    """
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    folders = [origin, *(Path(it).absolute() for it in entries if it)]
    for name in ("sitecustomize", "usercustomize"):
        file = getattr(sys.modules.get(name), "__file__", None)
        path = Path(file) if file else None
        if path is None or is_installed(path):
            continue
        if any(path.is_relative_to(folder) for folder in folders):
            raise BlocksError(
                where,
                name,
                f"Python ran {path} before tfhub-blocks",
                "a Python that runs no code of the working folder or of PYTHONPATH",
                f"Unset PYTHONPATH, or move {path.name} out of it, and run the command again",
            )
