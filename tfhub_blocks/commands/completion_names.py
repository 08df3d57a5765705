"""A program that prints the names a shell offers, with the standard library alone.

``python -ISB completion_names.py KIND...`` prints the names of each kind, one in a line. The shell
runs it at each press of the Tab key, so it imports neither tfhub_blocks nor a package that is
installed: it answers in less time than a person notices.
"""

import runpy
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
_RUNS = Path(".runs")


def _pipelines() -> Iterator[str]:
    # That file, too, needs the standard library alone.
    found = runpy.run_path(str(_PACKAGE / "control/repository/pipeline_functions.py"))
    for pattern in ("[!_]*.py", "[!_]*/__init__.py"):
        for path in _project_files("pipelines", pattern):
            yield from found["pipeline_functions"](path)


def _steps() -> Iterator[str]:
    for pattern in ("*/component.py", "operations/*/component.py"):
        for path in _project_files("components", pattern):
            yield path.parent.name


def _profiles() -> Iterator[str]:
    for path in _project_files("pipelines", "profiles/*.toml"):
        yield path.stem


def _schedules() -> Iterator[str]:
    for path in _project_files("pipelines", "schedules/*.toml"):
        yield path.stem


def _environments() -> Iterator[str]:
    for path in _project_files("components", "environments/*/environment.yaml"):
        yield path.parent.name


def _runs() -> Iterator[str]:
    for path in (_RUNS / "runs").glob("*/run.json"):
        yield path.parent.name


def _jobs() -> Iterator[str]:
    for path in (_RUNS / "jobs").glob("*/run.json"):
        yield path.parent.name


def _encoders() -> Iterator[str]:
    for pattern in ("encoder.toml", "*/encoder.toml", "*/*/encoder.toml"):
        for path in Path().glob(pattern):
            yield str(path.parent)


def _models() -> Iterator[str]:
    database = _RUNS.absolute() / "mlflow.db"
    if not database.is_file():
        return
    # A database in use stays as it is: a shell must not wait for a run, and changes nothing.
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=0)) as found:
        query = "SELECT name, version FROM model_versions ORDER BY name, version DESC"
        for name, version in found.execute(query):
            yield f"{name}:{version}"


def _project_files(group: str, pattern: str) -> Iterable[Path]:
    for folder in (_PACKAGE / group, Path(group)):
        yield from folder.glob(pattern)


KINDS: dict[str, Callable[[], Iterator[str]]] = {
    "pipelines": _pipelines,
    "steps": _steps,
    "profiles": _profiles,
    "schedules": _schedules,
    "environments": _environments,
    "runs": _runs,
    "jobs": _jobs,
    "encoders": _encoders,
    "models": _models,
}


def names(kinds: Iterable[str]) -> list[str]:
    """Return the names of some kinds, sorted. A folder that cannot be read has no names."""
    found: set[str] = set()
    for kind in kinds:
        with suppress(OSError, sqlite3.Error):
            found.update(KINDS[kind]())
    # A shell would split or run a name with such characters.
    return sorted(name for name in found if name.isprintable() and not set(name) & set(" \"'`$\\;"))


if __name__ == "__main__":
    print("\n".join(names(sys.argv[1:])))
