"""MLflow's database of a runs folder: made once, whole, and of the schema of today."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import mlflow
import pytest
from alembic import command
from mlflow.store.db import utils
from mlflow.store.tracking.dbmodels.initial_models import Base
from toy_project import PATIENCE_S, ROOT

from tfhub_blocks.control.lineage.local_registrations import registered
from tfhub_blocks.control.project import tracking_store
from tfhub_blocks.control.project.tracking_store import (
    DATABASE_NAME,
    VERSION_NAME,
    end_killed_runs,
    prepare_tracking,
    tracking_variables,
)
from tfhub_blocks.records.base.errors import BlocksError

PREPARE = """
import sys
from pathlib import Path
from tfhub_blocks.control.project.tracking_store import prepare_tracking
prepare_tracking(Path(sys.argv[1]), sys.argv[2], "run")
"""


def client(folder):
    return mlflow.MlflowClient(*[f"sqlite:///{folder / DATABASE_NAME}"] * 2)


def start(folder, experiment):
    return subprocess.Popen(
        [sys.executable, "-c", PREPARE, str(folder), experiment],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def revision(folder):
    return tracking_store._revision(folder / DATABASE_NAME, "test")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracking")
    prepare_tracking(folder, "toy", "run")
    return folder


@pytest.fixture
def runs(made, tmp_path):
    shutil.copyfile(made / DATABASE_NAME, tmp_path / DATABASE_NAME)
    (tmp_path / VERSION_NAME).write_text((made / VERSION_NAME).read_text())
    return tmp_path


def change(folder, *statements):
    with closing(sqlite3.connect(folder / DATABASE_NAME)) as database, database:
        for statement in statements:
            database.execute(statement)


def test_registered_versions_are_those_that_mlflow_lists(runs):
    registry = client(runs)
    registry.create_registered_model("animals", description="of zoos")
    for description in ("", "the second", "the third"):
        tags = {"tfhub_blocks.owner": "ada", "other": "x"}
        registry.create_model_version("animals", "/m", tags=tags, description=description)
    registry.create_registered_model("birds")
    registry.create_model_version("birds", "file:///b%20c")
    registry.delete_model_version("animals", "2")
    listed = sorted(registry.search_model_versions(), key=lambda it: (it.name, int(it.version)))

    found = tracking_store.model_versions(runs, "test")

    assert [(it.name, it.version, it.source, it.tags) for it in found] == [
        (it.name, int(it.version), it.source, it.tags) for it in listed
    ]
    assert [it.description for it in found] == ["of zoos", "the third", ""]
    assert [str(it) for it in registered(runs)] == ["animals:1", "animals:3", "birds:1"]
    assert registered(runs)[0].tags == {"owner": "ada"}


def test_revisions_are_those_that_mlflow_names():
    newest, known = tracking_store._revisions()
    assert newest == utils._get_latest_schema_revision()
    assert newest in known


def test_eight_processes_make_one_database_and_three_experiments(tmp_path):
    processes = [start(tmp_path / "new", f"toy{number % 3}") for number in range(8)]
    ends = [(it.communicate(timeout=PATIENCE_S)[1], it.returncode) for it in processes]
    assert ends == [("", 0)] * 8
    names = {it.name for it in client(tmp_path / "new").search_experiments()}
    assert names == {"Default", "toy0", "toy1", "toy2"}


def test_second_look_imports_no_mlflow(runs):
    code = PREPARE + "\nassert 'mlflow' not in sys.modules and 'sqlalchemy' not in sys.modules"
    subprocess.run(
        [sys.executable, "-c", code, str(runs), "toy"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )


def test_killed_creation_leaves_no_database_that_counts(tmp_path):
    process = start(tmp_path, "toy")
    partial = tmp_path / tracking_store._PARTIAL_NAME
    limit = time.monotonic() + PATIENCE_S
    while not partial.exists():
        assert time.monotonic() < limit
        time.sleep(0.001)
    process.kill()
    process.communicate()
    prepare_tracking(tmp_path, "toy", "run")
    assert revision(tmp_path) == tracking_store._revisions()[0]
    assert not partial.exists()
    assert client(tmp_path).get_experiment_by_name("toy")


@pytest.mark.parametrize("left", [b"", "CREATE TABLE experiments (name TEXT)"])
def test_half_made_database_of_an_older_version_is_made_again(tmp_path, left):
    (tmp_path / DATABASE_NAME).write_bytes(b"")
    if left:
        change(tmp_path, left)
    prepare_tracking(tmp_path, "toy", "run")
    assert client(tmp_path).get_experiment_by_name("toy")


def test_older_schema_is_upgraded_and_kept_beside(tmp_path):
    engine = utils.create_sqlalchemy_engine(f"sqlite:///{tmp_path / DATABASE_NAME}")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        config = utils._get_alembic_config(str(engine.url))
        config.attributes["connection"] = connection
        command.upgrade(config, "cc1f77228345")
    engine.dispose()
    change(
        tmp_path,
        "INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage)"
        " VALUES (7, 'old', 'x', 'active')",
        "INSERT INTO runs (run_uuid, experiment_id, name, status, start_time, lifecycle_stage,"
        " user_id) VALUES ('r', 7, 'n', 'FINISHED', 1, 'active', 'u')",
    )
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: prepare_tracking(tmp_path, "toy", "run"), range(4)))
    assert revision(tmp_path) == tracking_store._revisions()[0]
    assert client(tmp_path).get_run("r").info.status == "FINISHED"
    [backup] = tmp_path.glob(f"{DATABASE_NAME}.cc1f*")
    with closing(sqlite3.connect(backup)) as database:
        assert database.execute("SELECT name FROM runs").fetchall() == [("n",)]


def test_newer_schema_is_refused_with_both_versions(runs):
    change(runs, "UPDATE alembic_version SET version_num = 'f00dfeed0000'")
    (runs / VERSION_NAME).write_text("9.8.7\n")
    before = (runs / DATABASE_NAME).read_bytes()
    for act in (lambda: prepare_tracking(runs, "toy", "run"), lambda: registered(runs)):
        with pytest.raises(BlocksError) as error:
            act()
        assert "schema f00dfeed0000 of MLflow 9.8.7" in str(error.value)
        assert re.search(rf"MLflow {re.escape(mlflow.__version__)} does not know", str(error.value))
        assert "\n" not in str(error.value)
    assert (runs / DATABASE_NAME).read_bytes() == before


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / DATABASE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(BlocksError, match="cannot be read"):
        prepare_tracking(tmp_path, "toy", "run")


def test_upgrade_that_fails_leaves_the_database(runs, monkeypatch):
    client(runs).create_run(client(runs).get_experiment_by_name("toy").experiment_id)
    change(runs, "UPDATE alembic_version SET version_num = '451aebb31d03'")
    before = (runs / DATABASE_NAME).read_bytes()
    with pytest.raises(BlocksError, match="cannot upgrade it"):
        prepare_tracking(runs, "toy", "run")
    assert (runs / DATABASE_NAME).read_bytes() == before


def test_runs_of_a_killed_step_are_ended(runs):
    variables = tracking_variables(runs, "toy", "toy-1")
    tags = json.loads(variables["MLFLOW_RUN_CONTEXT"])
    experiment = client(runs).get_experiment_by_name("toy").experiment_id
    killed = client(runs).create_run(experiment, tags=tags).info.run_id
    other = client(runs).create_run(experiment).info.run_id
    end_killed_runs(runs, "toy-1")
    assert client(runs).get_run(killed).info.status == "KILLED"
    assert client(runs).get_run(other).info.status == "RUNNING"
