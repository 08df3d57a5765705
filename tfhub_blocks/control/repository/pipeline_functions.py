"""The pipeline functions of a file, found in its source."""

import ast
from functools import lru_cache
from pathlib import Path


def pipeline_functions(path: Path) -> tuple[str, ...]:
    """Return the names of the pipelines that a file defines, without importing it.

    A function with the name of the file is the pipeline, and all other pipeline functions are
    parts of it. Without such a function each is a pipeline. A file without any pipeline function
    counts as a pipeline of its own name, so that an error can say what the file lacks; the folder
    of a package does not.
    """
    is_package = path.name == "__init__.py"
    stem = path.parent.name if is_package else path.stem
    try:
        decorated, names = _functions(path.read_bytes(), str(path))
    except (OSError, SyntaxError, ValueError):
        return () if is_package else (stem,)
    if is_package:
        return (stem,) if stem in (*decorated, *names) else ()
    return decorated if decorated and stem not in names else (stem,)


@lru_cache(maxsize=256)
def _functions(source: bytes, path: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the pipeline functions at the top of a source, and all names that the top sets."""
    decorated, names = [], set[str]()
    for node in ast.parse(source, path).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
            if any(_is_pipeline(it) for it in node.decorator_list) and node.name[0] != "_":
                decorated.append(node.name)
        elif isinstance(node, ast.Assign):
            names |= {it.id for it in node.targets if isinstance(it, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {it.asname or it.name for it in node.names}
    return tuple(decorated), frozenset(names)


def _is_pipeline(decorator: ast.expr) -> bool:
    """Return True for ``@pipeline``, ``@dsl.pipeline`` and both with arguments."""
    function = decorator.func if isinstance(decorator, ast.Call) else decorator
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name == "pipeline"
