"""The MLflow database of a folder ``.runs``: created once, and of the schema that MLflow expects.

All processes that use the folder wait for one file lock while the database is created or upgraded.
Both happen in a copy that takes the database's name at the end, so a killed process leaves the
former database, or none.
"""

# decisions 73 and 74

import importlib.metadata
import importlib.util
import json
import logging
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tfhub_blocks.control.project.run_folders import artifact_root, sqlite_uri
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import locked, write_file

DATABASE_NAME = "mlflow.db"
LOCK_NAME = "mlflow.db.lock"
# The version of MLflow that wrote the schema; the schema itself states only its revision.
VERSION_NAME = "mlflow.db.version"
ARTIFACTS_NAME = "mlflow"
# The tag of MLflow runs with the name of the run whose step wrote them.
RUN_TAG = "tfhub_blocks.run"
# Names the lock for the steps, which wait for each other before they write.
LOCK_VARIABLE = "TFHUB_BLOCKS_TRACKING_LOCK"
# MLflow's names of its default workspace, and of the stage of deleted versions.
_WORKSPACE, _DELETED_STAGE = "default", "Deleted_Internal"
_PARTIAL_NAME = ".mlflow.db.partial"
_REVISION = re.compile(r"^(revision|down_revision)\s*(?::[^=]*)?=\s*[\"'](\w+)[\"']", re.MULTILINE)


def prepare_tracking(folder: Path, experiment: str, where: str) -> None:
    """Create the database of a folder ``.runs`` and an experiment in it, unless both exist.

    Raises:
        BlocksError: The database is of a newer MLflow, cannot be read, or cannot be upgraded.
    """
    database = folder.absolute() / DATABASE_NAME
    if _is_current(database, where) and _has_experiment(database, experiment):
        return
    with _lock(folder):
        _create_or_upgrade(database, where)
        if not _has_experiment(database, experiment):
            _create_experiment(database, experiment)


def check_tracking(folder: Path, where: str) -> None:
    """Upgrade an existing database of a folder ``.runs``, if it is of an older MLflow.

    Raises:
        BlocksError: The database is of a newer MLflow, cannot be read, or cannot be upgraded.
    """
    database = folder.absolute() / DATABASE_NAME
    if database.is_file() and not _is_current(database, where):
        with _lock(folder):
            _create_or_upgrade(database, where)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / LOCK_NAME):
        yield


def _is_current(database: Path, where: str) -> bool:
    return database.is_file() and _revision(database, where) == _revisions()[0]


@cache
def _revisions() -> tuple[str, frozenset[str]]:
    """Return the newest schema of the installed MLflow, and all that it can upgrade.

    The files are read instead of asking MLflow, whose import takes longer than a small run.
    """
    found = importlib.util.find_spec("mlflow")
    assert found is not None  # noqa: S101 - MLflow is a dependency
    [package] = found.submodule_search_locations or []
    own: set[str] = set()
    earlier: set[str] = set()
    for path in (Path(package) / "store" / "db_migrations" / "versions").glob("*.py"):
        for name, value in _REVISION.findall(path.read_text(encoding="utf-8")):
            (own if name == "revision" else earlier).add(value)
    [newest] = own - earlier
    return newest, frozenset(own)


def _rows(database: Path, question: str, *values: str) -> list[Any]:
    address = f"file:{quote(str(database))}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, timeout=60)) as connection:
        return connection.execute(question, values).fetchall()


def _revision(database: Path, where: str) -> str:
    """Return the revision of a database's schema; empty if the schema is incomplete."""
    try:
        rows = _rows(database, "SELECT version_num FROM alembic_version")
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return ""
        raise _unreadable(database, where, error) from error
    except sqlite3.DatabaseError as error:
        raise _unreadable(database, where, error) from error
    return str(rows[0][0]) if rows else ""


def _unreadable(database: Path, where: str, error: Exception) -> BlocksError:
    return BlocksError(
        where,
        str(database),
        f"{database.name} cannot be read ({error})",
        "the SQLite database that MLflow wrote",
        f"Restore the file from a copy, or pass another folder with --runs-dir instead of "
        f"{database.parent}",
    )


def _create_or_upgrade(database: Path, where: str) -> None:
    """Give a database the schema of the installed MLflow. The caller holds the lock."""
    newest, known = _revisions()
    installed = importlib.metadata.version("mlflow")
    partial = database.with_name(_PARTIAL_NAME)
    _remove(partial)
    revision = _revision(database, where) if database.is_file() else None
    if revision == newest:
        return
    if revision and revision not in known:
        wrote = _version_text(database)
        raise BlocksError(
            where,
            str(database),
            f"the database has schema {revision}{wrote}, which MLflow {installed} does not know",
            f"schema {newest} of MLflow {installed}, or an older one",
            f"Install MLflow {wrote.removeprefix(' of MLflow ') or 'of the version that wrote it'},"
            " or pass another folder with --runs-dir",
        )
    if not revision and (revision is None or _is_unused(database)):
        _build(partial)  # an unused one is what a killed process left
    else:
        _upgrade(database, partial, revision or "unknown", where)
    partial.replace(database)
    write_file(database.with_name(VERSION_NAME), f"{installed}\n".encode())


def _remove(partial: Path) -> None:
    for path in (partial, partial.with_name(f"{partial.name}-journal")):
        path.unlink(missing_ok=True)


def _version_text(database: Path) -> str:
    try:
        text = database.with_name(VERSION_NAME).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
    return f" of MLflow {text}" if re.fullmatch(r"[\w.+-]{1,40}", text) else ""


def _is_unused(database: Path) -> bool:
    """Return True if no table of a database has a run or a model."""
    for table in ("runs", "registered_models", "model_versions"):
        with suppress(sqlite3.OperationalError):  # no such table
            if _rows(database, f"SELECT 1 FROM {table} LIMIT 1"):  # noqa: S608 - from this list
                return False
    return True


def _build(path: Path) -> None:
    """Write a database with MLflow's tables. They are made in memory, which takes half as long."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    with _quiet() as (utils, _):
        engine = create_engine("sqlite://", poolclass=StaticPool)
        utils._initialize_tables(engine)
        connection = engine.raw_connection()
        own: Any = connection.driver_connection
        with closing(sqlite3.connect(path)) as copy:
            own.backup(copy)
        connection.close()
        engine.dispose()


def _upgrade(database: Path, partial: Path, revision: str, where: str) -> None:
    """Upgrade a copy, and keep the former database under another name."""
    backup = database.with_name(f"{database.name}.{revision}")
    for target in (backup, partial):
        # Through SQLite, which completes or undoes what a killed process began.
        with (
            closing(sqlite3.connect(database, timeout=60)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
    try:
        with _quiet() as (utils, engine_of):
            engine = engine_of(partial)
            utils._upgrade_db(engine)
            engine.dispose()
    except Exception as error:
        _remove(partial)
        if _is_unused(database):
            _build(partial)
            return
        first = str(error).partition("\n")[0]
        raise BlocksError(
            where,
            str(database),
            f"the database has schema {revision}, and MLflow"
            f" {importlib.metadata.version('mlflow')} cannot upgrade it ({first})",
            f"schema {_revisions()[0]}",
            "Pass another folder with --runs-dir; the database was left as it is",
        ) from error


@contextmanager
def _quiet() -> Iterator[tuple[Any, Any]]:
    """Import MLflow's functions for databases, whose progress is not printed in this context."""
    from mlflow.store.db import utils

    names = ("mlflow.store.db.utils", "alembic", "alembic.runtime.migration")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield utils, lambda path: utils.create_sqlalchemy_engine(sqlite_uri(path))
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _has_experiment(database: Path, name: str) -> bool:
    return bool(_rows(database, "SELECT 1 FROM experiments WHERE name = ?", name))


def _create_experiment(database: Path, name: str) -> None:
    """Create an experiment, since steps that start at once would each try to."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    root = artifact_root(database.parent / ARTIFACTS_NAME)
    store = SqlAlchemyStore(sqlite_uri(database), root)
    if store.get_experiment_by_name(name) is None:  # MLflow itself creates one called Default
        store.create_experiment(name)


def end_killed_runs(folder: Path, run: str) -> None:
    """Set the MLflow runs of one run's killed steps to KILLED.

    Example::

        end_killed_runs(Path(".runs"), "transfer_learning-20261130T120000Z")

    Args:
        folder: The folder ``.runs``.
        run: The name of the run, none of whose steps is running.
    """
    database = folder.absolute() / DATABASE_NAME
    question = (
        "SELECT runs.run_uuid FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid "
        "WHERE runs.status = 'RUNNING' AND tags.key = ? AND tags.value = ?"
    )
    try:
        found = _rows(database, question, RUN_TAG, run) if database.is_file() else []
    except sqlite3.Error:  # check_tracking reports a damaged database
        return
    if found:
        from mlflow import MlflowClient

        client = MlflowClient(sqlite_uri(database), sqlite_uri(database))
        for (identity,) in found:
            client.set_terminated(identity, "KILLED")


@dataclass(frozen=True)
class ModelVersion:
    """A version of a registered model, as the database describes it; all tags by their keys."""

    name: str
    version: int
    source: str
    description: str
    tags: Mapping[str, str]


def model_versions(folder: Path, where: str) -> list[ModelVersion]:
    """Return each version of each registered model below a folder ``.runs``, in order.

    A version without a description has that of its model. The database is read without MLflow,
    whose import takes longer than a server needs to start.

    Raises:
        BlocksError: The database is of a newer MLflow, cannot be read, or cannot be upgraded.
    """
    database = folder.absolute() / DATABASE_NAME
    if not database.is_file():
        return []
    check_tracking(folder, where)
    tags: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
    for name, version, key, value in _rows(
        database,
        "SELECT name, version, key, value FROM model_version_tags WHERE workspace = ?",
        _WORKSPACE,
    ):
        tags[name, version][key] = value
    rows = _rows(
        database,
        "SELECT v.name, v.version, v.source, coalesce(nullif(v.description, ''), m.description, '')"
        " FROM model_versions AS v JOIN registered_models AS m USING (workspace, name)"
        " WHERE workspace = ? AND v.current_stage != ? ORDER BY v.name, v.version",
        _WORKSPACE,
        _DELETED_STAGE,
    )
    return [
        ModelVersion(name, version, source, description, tags[name, version])
        for name, version, source, description in rows
    ]


def tracking_variables(folder: Path, experiment: str, run: str) -> dict[str, str]:
    """Return the environment variables that let the steps of a run track to a folder ``.runs``."""
    return {
        "MLFLOW_TRACKING_URI": sqlite_uri(folder / DATABASE_NAME),
        "MLFLOW_EXPERIMENT_NAME": experiment,
        # The artifact folder of clients that access SQLite directly; otherwise ./mlruns.
        "_MLFLOW_SERVER_ARTIFACT_ROOT": artifact_root(folder / ARTIFACTS_NAME),
        "MLFLOW_RUN_CONTEXT": json.dumps({RUN_TAG: run}),
        LOCK_VARIABLE: str(folder / LOCK_NAME),
    }
