"""Endpoints end by themselves: a schedule of Azure ML, whose step runs with nobody's login."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from loopback.resources import GROUP, WORKSPACE
from release_project import git
from test_deploy_ends import day, names, put_online

from tfhub_blocks.control.deployments.reaping import reap_in_job
from tfhub_blocks.records.base.errors import BlocksError

PROFILE = """
format_version = 1
description = "x"
engine = "azureml"
environment_policy = "record"
encoder_policy = "experiment"
[job]
owner = "tester"
cost_centre = "toys"
components = "inline"
[roles.cpu]
compute = "cpu-cluster"
timeout_s = 60
[roles.operations]
compute = "operations"
timeout_s = 100
[clusters.cpu-cluster]
size = "Standard_DS3_v2"
max_nodes = 2
[clusters.operations]
size = "Standard_DS3_v2"
max_nodes = 1
[budget]
currency = "USD"
run = 5.0
month = 50.0
endpoints = 50.0
[deployments]
longest_days = 10
reap = "17 2 * * *"
"""
PRICES = """format_version = 1
currency = "USD"
region = "westeurope"
[regions.westeurope]
date = "2999-01-01"
source = "a test"
[regions.westeurope.sizes]
Standard_DS3_v2 = { dedicated = 0.36 }
"""
KEYS = ("SUBSCRIPTION", "RESOURCEGROUP", "WORKSPACE_NAME")
INSTALL = ("deploy", "reap", "--install", "--profile", "ops")


@pytest.fixture
def ops(project, azure):
    """A project with a profile that reaps, in a workspace that has its clusters and environment."""
    project.write("pipelines/profiles/ops.toml", PROFILE)
    project.write("pipelines/prices.toml", PRICES)
    assert project.main("compute", "apply", "--profile", "ops").status == 0
    assert project.main("publish", "reap_endpoints").status == 0
    azure.recorder.clear()
    return project


def test_schedule_deletes_what_has_ended_in_a_real_job(ops, azure, tmp_path):
    installed = ops.main(*INSTALL)
    assert installed.status == 0, installed.err
    # Thirty-one nights of 900 s of start, 100 s of work and 120 s of idling, at 0.36 an hour.
    assert installed.out.splitlines() == [
        "  schedule tfhub-blocks-reap: created",
        "  at most 3.47 USD in 31 days: 31 runs of 0.1120",
    ]
    made = azure.workspace.get("schedules/tfhub-blocks-reap")["systemData"]
    for key in ("createdAt", "lastModifiedAt"):
        made[key] = (datetime.now(UTC) - timedelta(days=2, minutes=30)).isoformat()
    listed = ops.main("schedule", "list").out
    assert "tfhub-blocks-reap: fires\n" in listed  # it is defined, by the profile
    assert listed.count("Missed") >= 2
    azure.recorder.clear()
    again = ops.main(*INSTALL)
    assert again.out == installed.out.replace("created", "up to date")
    assert {it.method for it in azure.recorder.requests} == {"GET"}
    for name, until in (("alive", day(0)), ("old", day(-1)), ("forever", None)):
        put_online(azure, name, until)
    failed = azure.workspace.store(
        "onlineEndpoints/alive/deployments/m2",
        azure.workspace.get("onlineEndpoints/alive/deployments/m1"),
    )
    failed["properties"]["provisioningState"] = "Failed"
    executor, client = azure.run_jobs(), azure.client()
    job = client.schedules.trigger("tfhub-blocks-reap").job_name
    executor.wait()
    [run] = azure.workspace.child_runs(job)
    assert client.jobs.get(job).status == "Completed", run["error"]
    assert names(azure) == ["alive", "forever"]
    [left] = azure.workspace.deployments("onlineEndpoints", "alive")
    assert left["name"] == "m1"
    client.jobs.download(job, output_name="report", download_path=tmp_path / "got")
    [path] = (it for it in (tmp_path / "got").rglob("*") if it.is_file())
    reaped = {
        (it["endpoint"], it["deployment"]): it["state"]
        for it in json.loads(path.read_text())["reaped"]
    }
    assert reaped == {("old", None): "deleted", ("alive", "m2"): "deleted"}
    node = azure.workspace.get(f"jobs/{job}")["properties"]["jobs"]["reaped"]
    assert node["identity"]["identity_type"].lower() == "managed"
    assert node["computeId"].endswith("/computes/operations")


def test_job_that_could_not_delete_an_endpoint_fails_after_all_others(
    ops, azure, tmp_path, monkeypatch
):
    names_of_job = (azure.workspace.subscription, GROUP, WORKSPACE)
    for key, text in zip(KEYS, names_of_job, strict=True):
        monkeypatch.setenv(f"AZUREML_ARM_{key}", text)
    put_online(azure, "old", day(-1))
    put_online(azure, "strange", "soon")
    with pytest.raises(BlocksError, match="which is not a date"):
        reap_in_job(tmp_path / "report.json", dry_run=False)
    record = json.loads((tmp_path / "report.json").read_text())
    states = {it["endpoint"]: it["state"] for it in record["reaped"]}
    assert states == {"old": "deleted", "strange": "refused"}
    monkeypatch.delenv("AZUREML_ARM_WORKSPACE_NAME")
    with pytest.raises(BlocksError, match="AZUREML_ARM_WORKSPACE_NAME is not set"):
        reap_in_job(tmp_path / "report.json", dry_run=False)


def test_workspace_that_takes_locks_alone_reaps_by_the_steps_of_the_commit(ops, azure, monkeypatch):
    monkeypatch.setitem(azure.workspace.tags, "tfhub_blocks.takes", "locks")
    policies = 'environment_policy = "record"\nencoder_policy = "experiment"'
    strict = 'takes = "locks"\nenvironment_policy = "refuse"\nencoder_policy = "production"'
    text = PROFILE.replace(policies, strict).replace('components = "inline"\n', "")
    ops.write("pipelines/profiles/ops.toml", text)
    assert "[deploy reap > git] this folder is in no git repository" in ops.main(*INSTALL).err
    git(ops, "init", "-q")
    git(ops, "add", "components", "pipelines")
    git(ops, "commit", "-q", "-m", "x")
    outcome = ops.main(*INSTALL)
    assert outcome.status == 0, outcome.err
    assert "schedule tfhub-blocks-reap: created" in outcome.out


def test_schedule_needs_a_time_a_role_and_a_budget_that_suffices(ops, azure):
    for old, new, problem in (
        ('reap = "17 2 * * *"', "", "ops sets no time at which"),
        ('reap = "17 2 * * *"', 'reap = "17 2 1 * *"', "ignores the day of the month"),
        ("[roles.operations]", "[roles.other]", "ops lacks role 'operations'"),
        ("run = 5.0\nmonth = 50.0", "run = 1.0\nmonth = 3.0", "31 runs a month may cost 3.47 USD"),
        ("run = 5.0", "run = 0.1", "a run may cost 0.1120"),
    ):
        ops.write("pipelines/profiles/ops.toml", PROFILE.replace(old, new))
        outcome = ops.main(*INSTALL)
        assert (outcome.status, problem in outcome.err) == (2, True), outcome.err
    assert azure.workspace.versions("schedules") == []
    assert ops.main(*INSTALL, "--dry-run").status == 2
