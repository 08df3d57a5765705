"""What jobs did cost: those that were sent from here, and those of schedules."""

import json
import shutil
from datetime import UTC, datetime
from statistics import median

import pytest

PRICES = f"""format_version = 1
currency = "USD"
region = "westeurope"
[regions.westeurope]
date = "{datetime.now(UTC).date()}"
source = "a test"
[regions.westeurope.sizes]
Standard_DS3_v2 = {{ dedicated = 0.36 }}
"""
SET = ("--profile", "toy", "--json", "--set")


@pytest.fixture
def toy(project):
    project.furnish()
    project.write("pipelines/prices.toml", PRICES)
    return project


def estimate(toy):
    outcome = toy.main("cost", "toy", *SET, f"source={toy.words}")
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


def kept(toy, job):
    return json.loads(toy.read(f".runs/jobs/{job}/run.json"))


def test_estimate_asks_nobody(toy, azure):
    azure.recorder.clear()
    assert estimate(toy)["ceiling_of_steps"] == pytest.approx(3 * 60 * 0.36 / 3600)
    assert azure.recorder.requests == []


def test_job_keeps_its_terms_when_it_is_sent_and_its_times_when_it_ended(toy, azure):
    job = toy.submit().out.partition("\n")[0]
    record = kept(toy, job)
    assert (record["owner"], record["cost_centre"], record["currency"]) == ("tester", "toys", "USD")
    assert record["steps"]["left"]["terms"] == {
        "compute": "cpu-cluster",
        "size": "Standard_DS3_v2",
        "tier": "dedicated",
        "instances": 1,
        "timeout_s": 60,
        "attempts": 1,
        "idle_s": 120,
        "price_per_hour": 0.36,
        "expected_s": None,
        "disk_per_hour": None,
        "balancers_per_day": None,
    }
    assert record["steps"]["left"]["seconds"] == 0
    toy.main("status", job, "--wait")
    record = kept(toy, job)
    assert record["status"] == "Completed"
    assert all(step["seconds"] > 0 for step in record["steps"].values())
    azure.recorder.clear()
    toy.write("pipelines/prices.toml", PRICES.replace("0.36", "36.0"))
    found = json.loads(toy.main("cost", job, "--json").out)
    assert azure.recorder.requests == []
    for name, step in found["steps"].items():
        assert step["actual"] == pytest.approx(record["steps"][name]["seconds"] * 0.36 / 3600)
    assert found["of_steps"]["actual"] <= found["of_steps"]["ceiling"]
    assert 0 < found["idle"] <= found["idle_ceiling"]
    [row] = json.loads(toy.main("cost", "history", "--json").out)
    assert (row["who"], row["runs"], row["unfinished"]) == ("tester", 1, 0)
    assert row["steps"] == pytest.approx(found["of_steps"]["actual"])


def test_job_that_has_not_ended_is_asked_for(toy):
    job = toy.submit().out.partition("\n")[0]
    toy.plane.executor.wait()
    assert kept(toy, job)["status"] == "NotStarted"
    found = json.loads(toy.main("cost", job, "--json").out)
    assert found["status"] == "Completed"
    assert kept(toy, job)["status"] == "Completed"


def test_earlier_job_tells_what_the_next_is_expected_to_cost_and_what_is_reused(toy):
    job = toy.submitted()
    made = kept(toy, job)["steps"]
    found = estimate(toy)
    assert found["steps"]["left"]["made_by"] == job
    assert found["steps"]["left"]["expected"] == 0.0
    assert found["saved_by_reuse"] > 0
    profile = toy.read("pipelines/profiles/toy.toml")
    toy.write("pipelines/profiles/toy.toml", profile.replace("timeout_s = 60", "timeout_s = 61"))
    left = estimate(toy)["steps"]["left"]
    assert left["made_by"] is None
    assert left["basis"].startswith("median of 2 runs")
    assert left["expected_s"] == median(made[name]["seconds"] for name in ("left", "right"))
    second = toy.submitted()
    assert kept(toy, second)["steps"]["left"]["terms"]["expected_s"] == left["expected_s"]


def test_job_that_was_not_sent_from_here_is_priced_as_the_workspace_has_it(toy):
    job = toy.submitted()
    shutil.rmtree(toy.folder / ".runs" / "jobs")
    found = json.loads(toy.main("cost", job, "--json").out)
    assert (found["owner"], found["currency"]) == ("tester", "USD")
    for step in found["steps"].values():
        assert step["ceiling"] == pytest.approx(60 * 0.36 / 3600)
        assert step["actual"] == pytest.approx(step["seconds"] * 0.36 / 3600)
    assert not (toy.folder / ".runs" / "jobs").exists()


def test_job_that_is_not_there_is_told(toy):
    outcome = toy.main("cost", "toy-20260101T000000Z-abcdef")
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "toy-20260101T000000Z-abcdef" in outcome.err


def test_record_of_a_job_survives_prices_that_are_not_there(toy):
    toy.write("pipelines/prices.toml", "nonsense")
    job = toy.submitted()
    assert kept(toy, job)["steps"]["left"]["terms"]["price_per_hour"] is None
    assert "?" in toy.main("cost", job).out


def test_cluster_of_another_region_than_was_priced_is_refused(toy):
    profile = toy.read("pipelines/profiles/toy.toml")
    budget = '[budget]\ncurrency = "USD"\nrun = 1.0\n'
    toy.write("pipelines/profiles/toy.toml", f"{profile}{budget}")
    assert toy.submit().status == 0
    toy.write("pipelines/prices.toml", PRICES.replace("westeurope", "eastus"))
    outcome = toy.submit()
    assert outcome.status == 2
    assert "is in westeurope, but its cost was computed with prices of eastus" in outcome.err


def test_jobs_of_others_and_of_schedules_are_collected_once(toy, azure):
    toy.write(
        "pipelines/schedules/nightly.toml",
        'format_version = 1\npipeline = "toy"\nprofile = "toy"\ntime_zone = "Europe/Berlin"\n'
        f'cron = "0 3 * * *"\n[inputs]\nsource = "{toy.words}"\n',
    )
    assert toy.main("schedule", "apply").status == 0
    fired = azure.workspace.fire("nightly", datetime(2030, 1, 7, 2, tzinfo=UTC))
    sent = toy.submitted("--set", "count=2")
    azure.executor.wait()
    outcome = toy.main("cost", "history", "--collect", "--json")
    assert outcome.err == "fetched the records of 1 jobs\n"
    assert sum(row["runs"] for row in json.loads(outcome.out)) == 2
    assert kept(toy, fired)["status"] == "Completed"
    assert kept(toy, fired)["steps"]["left"]["terms"]["price_per_hour"] == 0.36
    assert kept(toy, sent)["steps"]["left"]["key"]
    again = toy.main("cost", "history", "--collect", "--json")
    assert again.err == "fetched the records of 0 jobs\n"
    assert again.out == outcome.out
