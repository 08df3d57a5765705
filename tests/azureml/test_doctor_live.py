"""``doctor --live``: it asks a workspace, writes what it found, and leaves nothing behind."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from signing_keys import write_keys
from toy_project import ROOT

from tfhub_blocks.control.doctor import trial_parts
from tfhub_blocks.control.lineage.signatures import check_file, read_public_key

PRICES = """
format_version = 1
currency = "USD"
region = "westeurope"
[regions.westeurope]
date = "2026-11-30"
source = "here"
[regions.westeurope.sizes]
Standard_DS3_v2 = { dedicated = 0.36, low_priority = 0.06 }
"""


@pytest.fixture
def alive(project, monkeypatch):
    """A workspace in which jobs run, with a cluster of two nodes."""
    monkeypatch.setenv("AZUREML_RUN_POLLING_INTERVAL_MIN", "0.2")
    project.write("pipelines/prices.toml", PRICES)
    write_keys(project.folder, ed25519.Ed25519PrivateKey.generate())
    assert project.main("compute", "apply", "--profile", "toy").status == 0
    project.plane.run_jobs()
    return project


def live(project, *parts, status=0):
    only = [word for part in parts for word in ("--only", part)]
    words = ("doctor", "--live", "--profile", "toy", "--key", "key.pem", *only)
    outcome = project.main(*words, anew=False)
    assert outcome.status == status, outcome.out + outcome.err
    return outcome


def facts(project):
    """What was found, part by part, after a look at the signature."""
    path = project.folder / "doctor-facts.json"
    assert check_file(path, read_public_key(project.folder / "key.pub")) == ""
    return json.loads(path.read_text())["predicate"]["parts"]


def left(azure):
    """What is in the workspace that somebody might pay for."""
    found = azure.workspace
    going = [
        job["name"] for job in found.versions("jobs") if job["properties"]["status"] == "Running"
    ]
    models = [m["id"] for m in found.versions("models") if not m["properties"]["isArchived"]]
    return [*found.versions("schedules"), *found.versions("onlineEndpoints"), *going, *models]


@pytest.mark.slow
def test_parts_ask_the_workspace_and_leave_nothing(alive, azure):
    outcome = live(alive, "probe", "cancel", "two-nodes", "schedule")
    # Five nodes for 900 s, with their starts and idle times, at 0.36 an hour.
    assert "at most 0.9600 USD together" in outcome.out
    found = facts(alive)
    assert {part: it["state"] for part, it in found.items()} == dict.fromkeys(found, "passed")
    probe, cancel = found["probe"]["facts"], found["cancel"]["facts"]
    assert probe["probe.mount"]["rename"] == "ok"
    assert probe["probe.uri_file"]["parent_exists"] is True
    assert "AZUREML_RUN_ID" in probe["probe.environment"]
    assert probe["probe.mlflow"]["log_metric"] == probe["probe.mlflow"]["create_model"] == "ok"
    assert probe["probe.driver"].startswith(("FileNotFoundError", "Tesla", "NVIDIA"))
    assert cancel["cancel.status"] == "Canceled"
    assert cancel["cancel.signal"]["name"] == "SIGTERM"
    nodes = found["two-nodes"]["facts"]
    assert nodes["two-nodes.worker-0"]["sees_the_other_after_s"] is not None
    assert nodes["two-nodes.worker-1"]["task"]["index"] == 1
    assert found["schedule"]["facts"]["schedule.job_name"]["as_documented"] is True
    assert left(azure) == []
    assert azure.workspace.tracking_uri not in json.dumps(found)


def test_each_fact_that_a_rule_cites_is_asked_for(alive):
    from loopback.rule_sources import facts as cited

    names = {part.name for part in trial_parts.PARTS}
    known = names | {
        f"{name}.{key}" for name in names for key in ("mount", "environment", "mlflow")
    }
    known |= {"schedule.job_name", "cancel.signal", "endpoint.answer", "training"}
    assert [fact for fact in cited() if fact not in known] == []


def test_interruption_removes_what_was_created(alive, azure, monkeypatch):
    def interrupt(_):
        assert len(azure.workspace.versions("schedules")) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(trial_parts, "completed", interrupt)
    outcome = live(alive, "schedule", status=130)
    assert "-schedule: deleted" in outcome.out
    azure.executor.wait(60)
    assert left(azure) == []


@pytest.mark.slow
def test_what_a_killed_trial_left_is_removed_by_the_next_call(alive, azure, monkeypatch):
    def die(_):
        raise SystemExit(9)

    monkeypatch.setattr(trial_parts, "completed", die)
    monkeypatch.setattr("tfhub_blocks.commands.doctor._clean", lambda _: None)
    live(alive, "schedule", status=9)
    monkeypatch.undo()
    assert len(azure.workspace.versions("schedules")) == 1
    for name, value in azure.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(alive.folder)
    outcome = alive.main("doctor", "--clean", "--profile", "toy")
    assert outcome.status == 0, outcome
    assert azure.workspace.versions("schedules") == []


def test_part_that_fails_is_a_fact_and_the_others_go_on(alive, azure, monkeypatch):
    monkeypatch.setattr(trial_parts, "HANDLES", {"tfhub": "https://tfhub.dev/x/y/1"})
    outcome = live(alive, "handles", "training", "endpoint", status=1)
    assert "error: [" in outcome.out
    states = {part: it["state"] for part, it in facts(alive).items()}
    assert states == {
        "handles": "failed",
        "training": "could not be tried",
        "endpoint": "could not be tried",
    }
    assert azure.guard.take_refused() != []
    assert left(azure) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--live", "--key", "key.pem", "--only", "prob"), "Did you mean 'probe'?"),
        (("--live",), "--key is missing"),
    ],
)
def test_wrong_request_is_told_before_anything_is_sent(alive, azure, words, message):
    azure.recorder.clear()
    outcome = alive.main("doctor", *words, "--profile", "toy", anew=False)
    assert outcome.status == 2
    assert message in outcome.err
    assert azure.recorder.requests == []


@pytest.mark.slow
def test_whole_trial_on_the_loopback(alive, azure, monkeypatch):
    encoder = ROOT / ".samples" / "encoder"
    if not encoder.is_dir():
        pytest.skip("The sample encoder is missing. Run `make samples`, which writes the encoder")
    monkeypatch.setattr(trial_parts, "_handles", lambda _: {})
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    words = ("--profile", "toy", "--key", "key.pem", "--encoder", str(encoder))
    only = ("--only", "image", "--only", "training", "--only", "endpoint")
    outcome = alive.main("doctor", "--live", *words, *only, anew=False)
    found = facts(alive)
    assert {part: it["problem"] for part, it in found.items()} == dict.fromkeys(found, ""), outcome
    assert found["training"]["facts"]["training.states"][-1] == "Completed"
    assert found["endpoint"]["facts"]["endpoint.answer"]
    assert left(azure) == []
