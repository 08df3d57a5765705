"""What Azure does that is no failure: it is busy, late, in conflict, and its tokens expire."""

import json

import pytest
from loopback.requests import Fault

WEEKLY = """
format_version = 1
pipeline = "toy"
profile = "toy"
time_zone = "UTC"
cron = "0 3 * * 1"
[inputs]
source = "{}"
"""
STATES = ["Preparing", "Provisioning", "Finalizing", "CancelRequested"]


@pytest.fixture
def toy(project):
    project.furnish(run=False)
    return project


@pytest.fixture
def states(azure, monkeypatch):
    """``states(*words)`` lets a job go through these states while somebody looks at it."""

    def given(*words):
        # A wait reads the job several times at each look.
        monkeypatch.setenv("AZUREML_RUN_POLLING_INTERVAL_MIN", "0.05")
        left, get = [word for word in words for _ in range(4)], azure.workspace.get

        def seen(short_id):
            found = get(short_id)
            if short_id.startswith("jobs/"):
                found["properties"]["status"] = left.pop(0) if left[1:] else left[0]
            return found

        monkeypatch.setattr(azure.workspace, "get", seen)

    return given


@pytest.mark.parametrize(
    ("last", "status"),
    [
        ("Completed", 0),
        ("NotResponding", 1),
        ("Paused", 130),
        pytest.param("Failed", 1, marks=pytest.mark.slow),
        pytest.param("Canceled", 130, marks=pytest.mark.slow),
    ],
)
def test_wait_ends_in_each_state_in_which_a_job_ends(toy, states, last, status):
    states(*STATES, last)
    outcome = toy.submit("--wait")
    assert outcome.status == status, outcome.err
    shown = [line.split()[1] for line in outcome.out.splitlines() if line.startswith("job  ")]
    ended_otherwise = [last] if last in ("NotResponding", "Paused") else []
    assert shown[-len(STATES) :] == [*STATES, *ended_otherwise][-len(STATES) :]


def test_job_that_is_not_seen_yet_is_waited_for(toy, azure, states):
    azure.workspace.late["jobs"] = 2
    states("Completed")
    outcome = toy.submit("--wait")
    assert outcome.status == 0, outcome.err
    assert [r.status for r in azure.recorder.requests].count(404) >= 2


def test_job_that_does_not_exist_is_told_at_once(toy, azure):
    azure.recorder.clear()
    assert toy.main("status", "nothing", "--wait").status == 2
    assert len([r for r in azure.recorder.requests if "nothing" in r.path]) == 1


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.EXPIRED, Fault.BROKEN])
def test_wait_survives_refusals_that_pass(toy, azure, states, fault, quick_retries):
    states("Running", "Running", "Running", "Completed")
    job = toy.submit().out.partition("\n")[0]
    azure.recorder.clear()
    for index in (2, 3, 6):
        azure.recorder.inject(fault, at=index)
    outcome = toy.main("status", job, "--wait", anew=False)
    assert outcome.status == 0, outcome.err
    assert len([r for r in azure.recorder.requests if r.fault]) == 3


def test_wait_asks_for_new_tokens(toy, azure, states):
    azure.identity.lifetime_s = 3
    states("Running", "Running", "Completed")
    assert toy.submit("--wait").status == 0
    assert len(set(azure.identity.given)) > 2


def test_conflict_of_a_change_is_tried_again(toy, azure):
    toy.write("pipelines/schedules/weekly.toml", WEEKLY.format(toy.words))
    assert toy.main("schedule", "apply").status == 0
    azure.recorder.clear()
    assert toy.main("schedule", "pause", "weekly").status == 0
    writes = [r.index for r in azure.recorder.requests if r.method == "PUT"]
    assert toy.main("schedule", "resume", "weekly").status == 0
    for fault in (Fault.CHANGED, Fault.CONFLICT):
        azure.recorder.clear()
        azure.recorder.inject(fault, at=writes[0])
        assert toy.main("schedule", "pause", "weekly").status == 0
        assert [r.fault for r in azure.recorder.requests if r.fault] == [fault]
        assert toy.main("schedule", "resume", "weekly").status == 0


def test_pipeline_of_a_job_is_not_read_from_its_display_name(toy, azure):
    job = toy.submit().out.partition("\n")[0]
    found = azure.workspace.get(f"jobs/{job}")["properties"]
    found["displayName"] = "weekly-2026-11-30"
    record = json.loads(toy.main("status", job, "--json").out)
    assert record["pipeline"] == "toy"


SERVERLESS = """
format_version = 1
description = "x"
engine = "azureml"
environment_policy = "record"
encoder_policy = "experiment"
[job]
owner = "$USER"
cost_centre = "toys"
identity = "managed"
[roles.cpu]
compute = "serverless"
size = "Standard_DS3_v2"
timeout_s = 60
"""
CLIENT = "11111111-2222-3333-4444-555555555555"


def test_serverless_with_a_managed_identity_needs_its_client_id(toy, azure, golden):
    toy.write("pipelines/profiles/toy.toml", SERVERLESS)
    outcome = toy.submit()
    assert outcome.status == 2
    golden("error_serverless_identity", toy.normal(outcome.err))
    text = SERVERLESS.replace('"managed"', f'"managed"\nclient_id = "{CLIENT}"')
    toy.write("pipelines/profiles/toy.toml", text)
    outcome = toy.submit()
    assert outcome.status == 0, outcome.err
    [job] = toy.jobs()
    identities = [node["identity"] for node in job["properties"]["jobs"].values()]
    assert {identity.get("client_id") or identity.get("clientId") for identity in identities} == {
        CLIENT
    }


@pytest.mark.parametrize(
    ("identity", "shown"),
    [
        ('identity = "managed"', "managed identity of the cluster"),
        ('identity = "user"', "user tests"),
        ("", "no identity of their own: the cluster's, or the keys of the datastores"),
    ],
)
def test_schedules_show_whose_identity_a_job_has(toy, identity, shown):
    profile = toy.read("pipelines/profiles/toy.toml")
    toy.write("pipelines/profiles/toy.toml", profile.replace("[job]", f"[job]\n{identity}"))
    toy.write("pipelines/schedules/weekly.toml", WEEKLY.format(toy.words))
    assert toy.main("schedule", "apply").status == 0
    assert f"  jobs run as: {shown}\n" in toy.main("schedule", "list").out
