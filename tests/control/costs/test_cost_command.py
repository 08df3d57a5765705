"""`cost` of a pipeline before it starts, of a run after it ended, and of all runs."""

import json
import re
from pathlib import Path

import pytest

from tfhub_blocks.control.costs.prices import money

PRICES = """format_version = 1
currency = "USD"
region = "eastus"
stale_days = 100000
[regions.eastus]
date = "2026-01-31"
source = "a test"
[regions.eastus.sizes]
Small = { dedicated = 0.36, low_priority = 0.09 }
Large = { dedicated = 3.6 }
"""
PROFILE = """format_version = 1
description = "x"
engine = "azureml"
[job]
owner = "us"
cost_centre = "ours"
[roles.cpu]
compute = "pool"
timeout_s = 3600
[clusters.pool]
size = "Small"
max_nodes = 2
idle_s = 120
low_priority = true
[budget]
currency = "USD"
run = 0.5
restarts = 2
"""
SET = ("--set", "source=src")


@pytest.fixture
def toy(project):
    project.write("pipelines/prices.toml", PRICES)
    project.write("pipelines/profiles/cloud.toml", PROFILE)
    return project


def estimate(toy, *words):
    outcome = toy.main("cost", "toy", *SET, "--profile", "cloud", "--json", *words)
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


def past(toy, run, component="make", seconds=100.0, log="", **step):
    """A run that ended earlier, as an older version kept it, unless the step says more."""
    record = {
        "run": run,
        "pipeline": "toy",
        "profile": "local",
        "folder": str(toy.folder / ".runs" / "runs" / run),
        "started": f"2026-01-{len(list(toy.folder.glob('.runs/runs/*'))) + 1:02}T00:00:00+00:00",
        "inputs": {"owner": "them"},
        "status": "Completed",
        "steps": {
            "a": {
                "component": component,
                "status": "Completed",
                "reused": False,
                "seconds": seconds,
                **step,
            }
        },
    }
    toy.write(f".runs/runs/{run}/run.json", json.dumps(record))
    if log:
        toy.write(f".runs/runs/{run}/steps/a/log.txt", log)


def test_without_earlier_runs_the_ceiling_counts_and_is_told(toy, golden):
    outcome = toy.main("cost", "toy", *SET, "--profile", "cloud")
    assert (outcome.status, outcome.err) == (0, "")
    golden("cost_ceiling", outcome.out)
    found = estimate(toy)
    # Three steps, each an hour at most, three times: 9 h at 0.09; then 120 s of a node each.
    assert found["ceiling_of_steps"] == pytest.approx(9 * 0.09)
    assert found["ceiling_of_idle_nodes"] == pytest.approx(3 * 120 / 3600 * 0.09)
    # Each of nine attempts may take 900 s to start its node.
    assert found["ceiling_of_starts"] == pytest.approx(9 * 900 / 3600 * 0.09)
    assert found["ceiling"] == pytest.approx(1.0215)
    assert found["expected_of_steps"] == found["ceiling_of_steps"]
    assert found["steps"]["left"]["basis"] == "no earlier run; uses the limit"


def test_earlier_runs_of_a_component_tell_what_is_expected(toy, golden):
    for number, seconds in enumerate((100.0, 200.0, 4000.0)):
        past(toy, f"toy-{number}", seconds=seconds)
    past(toy, "toy-failed", seconds=1.0, status="Failed")
    past(toy, "toy-reused", seconds=1.0, reused=True)
    left = estimate(toy)["steps"]["left"]
    assert (left["expected_s"], left["basis"]) == (200.0, "median of 3 runs elsewhere")
    assert left["expected"] == pytest.approx(200 / 3600 * 0.09)
    golden("cost_expected", toy.main("cost", "toy", *SET, "--profile", "cloud").out)


def test_runs_on_the_same_machines_count_before_others(toy):
    past(toy, "toy-here", seconds=500.0)
    terms = {"compute": "x", "size": "Small", "tier": "dedicated", "instances": 1, "timeout_s": 60}
    past(toy, "toy-there", seconds=30.0, terms=terms)
    left = estimate(toy)["steps"]["left"]
    assert (left["expected_s"], left["basis"]) == (30.0, "1 run on the same")


def test_no_step_is_expected_to_take_longer_than_it_may(toy):
    past(toy, "toy-1", seconds=1e6)
    left = estimate(toy)["steps"]["left"]
    assert left["expected_s"] == 3 * 3600
    assert left["basis"].endswith("ended by its limit")
    assert left["expected"] == left["ceiling"]


def test_throughput_counts_where_no_run_ended_well(toy):
    log = "progress: 10/1000 items, 1/s, 990 s left\nprogress: 500/1000 items, 5/s, 100 s left\n"
    past(toy, "toy-1", seconds=100.0, log=log, status="Canceled")
    left = estimate(toy)["steps"]["left"]
    assert (left["expected_s"], left["basis"]) == (200.0, "1,000 items at 5/s elsewhere")
    left = estimate(toy, "--items", "5000")["steps"]["left"]
    assert (left["expected_s"], left["basis"]) == (1000.0, "5,000 items at 5/s elsewhere")


def test_step_that_had_a_part_of_the_items_is_expected_to_have_that_part(toy):
    past(toy, "toy-1", log="progress: 20/20 items, 2/s\n")
    record = json.loads(toy.read(".runs/runs/toy-1/run.json"))
    record["steps"]["b"] = record["steps"]["a"] | {"component": "join"}
    toy.write(".runs/runs/toy-1/run.json", json.dumps(record))
    toy.write(".runs/runs/toy-1/steps/b/log.txt", "progress: 100/100 items, 10/s\n")
    found = estimate(toy, "--items", "1000")["steps"]
    assert found["joined"]["basis"] == "1,000 items at 10/s elsewhere"
    assert found["left"]["basis"] == "200 items at 2/s elsewhere"
    # A step that was too quick for a rate counts too.
    toy.write(".runs/runs/toy-1/steps/b/log.txt", "progress: 200/200 items\n")
    found = estimate(toy, "--items", "1000")["steps"]
    assert found["left"]["basis"] == "100 items at 2/s elsewhere"


def test_what_the_store_has_is_saved(toy):
    toy.run()
    first = json.loads(toy.main("cost", "toy", *SET, "--profile", "local", "--json").out)
    assert {name: step["made_by"] for name, step in first["steps"].items()} == {
        "left": "the store",
        "right": "the store",
        "joined": "the store",
    }
    seconds = sum(step["expected_s"] for step in first["steps"].values())
    assert first["saved_by_reuse_s"] == pytest.approx(seconds) != 0
    words = ("cost", "toy", *SET, "--profile", "local", "--set", "count=4", "--json")
    other = json.loads(toy.main(*words).out)
    assert [name for name, step in other["steps"].items() if step["made_by"]] == ["left"]
    # Nothing was made, removed or marked by asking.
    assert toy.run().record["steps"]["joined"]["reused"] is True
    told = toy.main("cost", "toy", *SET, "--profile", "local").out
    assert "toy with profile local: runs locally, without cost\n" in told
    assert re.search(r"^reuse saves [\d,]+ s: left, right, joined$", told, re.M)


def test_asking_does_not_remove_what_is_damaged(toy):
    made = Path(toy.run().record["steps"]["left"]["outputs"]["made"])
    (made / "f.txt").write_text("damaged")
    toy.main("cost", "toy", *SET, "--profile", "local")
    assert (made / "f.txt").read_text() == "damaged"


@pytest.mark.parametrize(("run", "verdict"), [(0.5, "above"), (1.1, "within")])
def test_budget_is_told_beside_the_ceiling(toy, run, verdict):
    toy.write("pipelines/profiles/cloud.toml", PROFILE.replace("run = 0.5", f"run = {run}"))
    out = toy.main("cost", "toy", *SET, "--profile", "cloud").out
    assert out.endswith(f"{verdict} the budget of a run, {money(run)} USD\n")


def test_run_is_told_beside_what_was_expected(toy):
    toy.run("--set", "count=1")
    record = toy.run("--set", "count=2").record
    assert record["owner"] != ""
    assert record["steps"]["left"]["reused"] is True
    terms = record["steps"]["right"]["terms"]
    assert (terms["compute"], terms["instances"], terms["price_per_hour"]) == ("local", 1, 0.0)
    assert terms["expected_s"] > 0
    told = toy.main("cost", record["run"], "--json")
    found = json.loads(told.out)
    assert found["steps"]["right"]["actual"] == 0.0
    assert found["steps"]["right"]["seconds"] == record["steps"]["right"]["seconds"]
    assert found["steps"]["right"]["expected_s"] == terms["expected_s"]


JOB = {
    "run": "toy-20260131T000000Z-abcdef",
    "pipeline": "toy",
    "profile": "cloud",
    "folder": "",
    "started": "2026-01-31T00:00:00+00:00",
    "inputs": {},
    "status": "Completed",
    "owner": "us",
    "cost_centre": "ours",
    "currency": "USD",
    "prices_of": "2026-01-31",
}
TERMS = {
    "compute": "pool",
    "size": "Small",
    "tier": "dedicated",
    "instances": 2,
    "timeout_s": 3600,
    "attempts": 1,
    "idle_s": 120,
    "price_per_hour": 0.36,
    "expected_s": 100.0,
}


def job_step(start, seconds, **more):
    return {
        "component": "make",
        "status": "Completed",
        "reused": False,
        "seconds": seconds,
        "started": f"2026-01-31T{start}+00:00",
        "terms": TERMS,
    } | more


def kept_job(toy, steps, **more):
    record = JOB | {"steps": steps} | more
    toy.write(f".runs/jobs/{record['run']}/run.json", json.dumps(record))
    return record["run"]


def test_job_is_told_at_the_prices_of_its_day_with_its_idle_nodes(toy, golden):
    run = kept_job(
        toy,
        {
            "left": job_step("00:00:00", 600.0),
            # 60 s later: the nodes wait for it. The last one is 10 minutes later: they do not.
            "right": job_step("00:11:00", 1800.0),
            "joined": job_step("00:51:00", 60.0),
            "again": job_step("00:00:00", 999.0, reused=True),
            "never": job_step("", 0.0, status="NotStarted", started=""),
        },
    )
    # What machines cost today makes no difference to what it did cost.
    toy.write("pipelines/prices.toml", PRICES.replace("0.36", "99.0"))
    found = json.loads(toy.main("cost", run, "--json").out)
    assert found["steps"]["left"]["actual"] == pytest.approx(600 * 2 * 0.36 / 3600)
    assert found["steps"]["left"]["expected"] == pytest.approx(100 * 2 * 0.36 / 3600)
    assert found["steps"]["left"]["ceiling"] == pytest.approx(0.72)
    assert found["steps"]["again"]["actual"] == found["steps"]["never"]["actual"] == 0.0
    assert found["of_steps"]["actual"] == pytest.approx(2460 * 2 * 0.36 / 3600)
    assert found["idle"] == pytest.approx((60 + 120 + 120) * 2 * 0.36 / 3600)
    golden("cost_job", toy.main("cost", run).out)


def test_step_without_a_price_is_no_step_that_cost_nothing(toy):
    bare = job_step("00:00:00", 600.0, terms=TERMS | {"price_per_hour": None})
    run = kept_job(toy, {"left": bare, "right": job_step("00:00:00", 600.0)})
    outcome = toy.main("cost", run)
    assert outcome.out.count("?") > 3
    assert "the run's record has no prices" in outcome.out
    [row] = json.loads(toy.main("cost", "history", "--json").out)
    assert (row["runs"], row["unpriced"], row["steps"]) == (1, 1, 0.0)


def test_history_tells_who_spent_what_by_month_and_currency(toy, golden):
    hour = {"left": job_step("00:00:00", 3600.0)}
    kept_job(toy, hour)
    kept_job(toy, hour, run="b", owner="you")
    kept_job(toy, hour, run="c", owner="you", currency="EUR", status="Running")
    kept_job(toy, hour, run="d", started="2026-02-28T00:00:00+00:00", cost_centre="theirs")
    past(toy, "toy-old")
    outcome = toy.main("cost", "history")
    golden("cost_history", outcome.out)
    rows = json.loads(toy.main("cost", "history", "--json").out)
    assert [(row["month"], row["who"], row["currency"]) for row in rows] == [
        ("2026-01", "them", ""),
        ("2026-01", "us", "USD"),
        ("2026-01", "you", "EUR"),
        ("2026-01", "you", "USD"),
        ("2026-02", "us", "USD"),
    ]
    assert rows[1]["steps"] == pytest.approx(0.72)
    assert rows[1]["total"] == pytest.approx(0.72 + 0.024) == rows[1]["ceiling"]
    since = json.loads(toy.main("cost", "history", "--json", "--since", "2026-02").out)
    assert since == rows[4:]
    by = json.loads(toy.main("cost", "history", "--json", "--by", "cost_centre").out)
    assert {row["who"] for row in by} == {"(not set)", "ours", "theirs"}


def test_history_is_drawn(toy):
    from PIL import Image

    hour = {"left": job_step("00:00:00", 3600.0)}
    for number in range(9):
        kept_job(toy, hour, run=f"r{number}", owner=f"$owner_{number}$")
    first = toy.main("cost", "history", "--plot", "spent.png")
    assert first.out.endswith("spent.png\n")
    content = (toy.folder / "spent.png").read_bytes()
    with Image.open(toy.folder / "spent.png") as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert {(0x00, 0x72, 0xB2), (0xB8, 0xC0, 0xCA)} <= colours
    toy.main("cost", "history", "--plot", "again.png")
    assert (toy.folder / "again.png").read_bytes() == content


def test_history_of_nothing(toy):
    assert toy.main("cost", "history").out == "no runs found\n"


def test_records_that_cannot_be_read_are_passed_over(toy):
    past(toy, "toy-1")
    toy.write(".runs/runs/toy-2/run.json", "{")
    toy.write(".runs/runs/toy-3/run.json", '{"steps": 3}')
    assert "median" not in estimate(toy)["steps"]["left"]["basis"]
    outcome = toy.main("cost", "toy-3")
    assert outcome.status == 2
    assert "is not the record of a run" in outcome.err


WRONG = {
    "cost_unknown": ["cost", "histroy"],
    "cost_unknown_run": ["cost", "../x"],
    "cost_option": ["cost", "history", "--profile", "cloud"],
    "cost_items": ["cost", "toy", *SET, "--profile", "cloud", "--items", "0"],
    "cost_since": ["cost", "history", "--since", "january"],
    "cost_default": ["cost", "refresh", "--default"],
    "cost_no_size": ["cost", "toy", *SET, "--profile", "sizeless"],
    "cost_no_tier": ["cost", "toy", *SET, "--profile", "tierless"],
    "cost_currency": ["cost", "toy", *SET, "--profile", "foreign"],
    "cost_contradiction": ["cost", "toy", *SET, "--profile", "contradictory"],
    "cost_setting": ["cost", "toy", "--set", "suorce=src", "--profile", "cloud"],
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_request_is_told_in_one_line(name, toy, golden):
    for profile, old, new in (
        ("sizeless", '"Small"', '"Smaller"'),
        ("tierless", '"Small"', '"Large"'),
        ("foreign", '"USD"', '"EUR"'),
        ("contradictory", "run = 0.5", "run = 0.5\nmonth = 0.1"),
    ):
        toy.write(f"pipelines/profiles/{profile}.toml", PROFILE.replace(old, new))
    outcome = toy.main(*WRONG[name])
    assert outcome.status == 2
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1
    golden(f"error_{name}", toy.normal(outcome.err))
