"""Two owners in one workspace cannot change, use or delete what the other one has."""

from datetime import UTC, datetime, timedelta

import mlflow
import pytest
from azure.ai.ml.entities import AmlCompute

from tfhub_blocks.compute.registration import model_registry
from tfhub_blocks.control.workspace.connection import connect
from tfhub_blocks.control.workspace.promoted_models import find_place
from tfhub_blocks.records.base.errors import BlocksError

SCHEDULE = """
format_version = 1
pipeline = "toy"
profile = "toy"
time_zone = "UTC"
cron = "0 3 * * 1"
[inputs]
source = "{words}"
"""


@pytest.fixture
def owned(project):
    """A workspace in which tester has published the toy and made its cluster."""
    project.publish()
    assert project.main("compute", "apply", "--profile", "toy").status == 0
    return project


def as_other(project, monkeypatch, *words):
    """What another owner is told, who must change nothing."""
    monkeypatch.setenv("USER", "other")
    before = project.versions()
    project.plane.recorder.clear()
    outcome = project.main(*words)
    assert outcome.status == 2, outcome.out
    assert "belongs to owner tester, and this request is of owner other" in outcome.err
    assert project.versions() == before
    assert {request.method for request in project.plane.recorder.requests} == {"GET"}
    return outcome.err


def edit_profile(project, old, new):
    text = project.read("pipelines/profiles/toy.toml")
    project.write("pipelines/profiles/toy.toml", text.replace(old, new))


def test_cluster_is_neither_changed_nor_used_by_another_owner(owned, monkeypatch):
    submit = ("submit", "toy", "--profile", "toy", "--set", f"source={owned.words}")
    edit_profile(owned, "max_nodes = 2", "max_nodes = 9")
    told = as_other(owned, monkeypatch, "compute", "apply", "--profile", "toy")
    assert told.startswith("error: [compute apply > cluster cpu-cluster]")
    assert "[submit > cluster cpu-cluster]" in as_other(owned, monkeypatch, *submit)


def test_cluster_without_an_owner_may_be_used(project, monkeypatch):
    project.publish()
    cluster = AmlCompute(name="cpu-cluster", size="Standard_DS3_v2", max_instances=2)
    project.plane.client().compute.begin_create_or_update(cluster).result()
    monkeypatch.setenv("USER", "other")
    assert project.submit().status == 0


def test_schedule_is_neither_changed_nor_fired_nor_deleted_by_another_owner(owned, monkeypatch):
    file = "pipelines/schedules/weekly.toml"
    owned.write(file, SCHEDULE.format(words=owned.words))
    assert owned.main("schedule", "apply").status == 0
    for action in ("pause", "resume", "trigger", "delete"):
        as_other(owned, monkeypatch, "schedule", action, "weekly")
    (owned.folder / file).unlink()  # nor by a project that does not define it
    told = as_other(owned, monkeypatch, "schedule", "delete", "weekly", "--profile", "toy")
    assert told.startswith("error: [schedule > schedule weekly]")
    monkeypatch.setenv("USER", "tester")
    outcome = owned.main("schedule", "delete", "weekly", "--profile", "toy")
    assert outcome.out == "weekly: deleted\n"


def test_schedule_of_that_name_is_not_applied_over_that_of_another_owner(owned, monkeypatch):
    owned.write("pipelines/schedules/weekly.toml", SCHEDULE.format(words=owned.words))
    assert owned.main("schedule", "apply").status == 0
    # With a cluster of their own, so that only the schedule is shared.
    edit_profile(owned, "cpu-cluster", "other-cluster")
    monkeypatch.setenv("USER", "other")
    assert owned.main("compute", "apply", "--profile", "toy").status == 0
    told = as_other(owned, monkeypatch, "schedule", "apply")
    assert told.startswith("error: [schedule apply > schedule weekly]")


def test_endpoint_is_not_deployed_to_by_another_owner(owned, monkeypatch):
    until = str(datetime.now(UTC).date() + timedelta(1))
    words = ("deploy", "batch", "toy", "--profile", "toy", "--until", until, "--name", "words")
    assert owned.main(*words).status == 0
    told = as_other(owned, monkeypatch, *words)
    assert told.startswith("error: [deploy batch > endpoint words]")


def test_name_of_data_gets_no_version_of_another_owner(owned, monkeypatch):
    owned.write("src/word", "other")
    told = as_other(owned, monkeypatch, "publish", "make", "--data", "words=src")
    assert told.startswith("error: [publish > data words]")
    monkeypatch.setenv("USER", "tester")
    assert owned.main("publish", "make", "--data", "words=src").status == 0


def test_name_of_an_output_gets_no_version_of_another_owner(owned, monkeypatch):
    edit_profile(owned, "cpu-cluster", "other-cluster")
    monkeypatch.setenv("USER", "other")
    assert owned.main("compute", "apply", "--profile", "toy").status == 0
    words = ("--set", f"source={owned.words}", "--register", "joined=words")
    told = as_other(owned, monkeypatch, "submit", "toy", "--profile", "toy", *words)
    assert told.startswith("error: [submit > data words]")


def test_name_of_a_model_gets_no_version_of_another_owner(tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(uri, uri)
    client.create_registered_model("animals")
    tags = {"tfhub_blocks.owner": "tester"}
    client.create_model_version("animals", str(tmp_path), tags=tags)
    model_registry._check_owner(client, "animals", "tester")
    model_registry._check_owner(client, "plants", "other")
    with pytest.raises(BlocksError, match="animals belongs to owner tester"):
        model_registry._check_owner(client, "animals", "other")


def test_promoted_model_gets_no_version_of_another_owner(owned, tmp_path):
    from azure.ai.ml.entities import Model

    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text("x")
    tags = {"tfhub_blocks.owner": "tester"}
    client = owned.plane.client()
    model = Model(name="animals", version="1", path=tmp_path / "m", tags=tags, type="custom_model")
    client.models.create_or_update(model)
    connection = connect(None)
    assert find_place(connection, "animals", "1" * 64, "tester").tags is None
    with pytest.raises(BlocksError, match="model animals belongs to owner tester"):
        find_place(connection, "animals", "1" * 64, "other")
