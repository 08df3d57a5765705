"""A budget stops submit and schedules before a single request is made."""

import re
from datetime import UTC, datetime

import pytest

PRICES = """format_version = 1
currency = "USD"
region = "westeurope"
[regions.westeurope]
date = "{today}"
source = "a test"
[regions.westeurope.sizes]
Standard_DS3_v2 = {{ dedicated = 0.36, low_priority = 0.09 }}
"""
# Three steps of a minute at most: 0.006 each, 0.012 each for 120 s of an idle node, and 0.09 each
# for 900 s in which a node starts.
CEILING = 0.324
SCHEDULE = """
format_version = 1
pipeline = "toy"
profile = "toy"
time_zone = "Europe/Berlin"
cron = "0 3 * * *"
[inputs]
source = "{words}"
"""


@pytest.fixture
def toy(project):
    project.furnish(run=False)
    project.write("pipelines/prices.toml", PRICES.format(today=datetime.now(UTC).date()))
    return project


def budget(toy, text, currency="USD"):
    profile = toy.read("pipelines/profiles/toy.toml").partition("[budget]")[0]
    toy.write(
        "pipelines/profiles/toy.toml", f'{profile}[budget]\ncurrency = "{currency}"\n{text}\n'
    )


def test_budget_below_the_ceiling_stops_before_any_request(toy, azure, golden):
    budget(toy, f"run = {CEILING - 0.001}")
    outcome = toy.submit()
    assert outcome.status == 2
    assert azure.recorder.requests == []
    assert azure.recorder.uploaded_bytes == 0
    assert toy.jobs() == []
    golden("error_budget_run", outcome.err)


def test_budget_that_is_kept_lets_the_job_go(toy, azure):
    budget(toy, f"run = {CEILING + 0.001}")
    outcome = toy.submit()
    assert (outcome.status, outcome.err) == (0, "")
    assert len(toy.jobs()) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Standard_DS3_v2 =", "Standard_DS4_v2 =", "no price for Standard_DS3_v2 in westeurope"),
        ("dedicated = 0.36, ", "", "no dedicated price for Standard_DS3_v2 in westeurope"),
        ("dedicated = 0.36", "dedicated = 0", "dedicated] the price is 0.0"),
        ('currency = "USD"', 'currency = "EUR"', "toy > budget.currency] the budget is in USD"),
        ("format_version = 1", "format_version = 9", "Update tfhub-blocks"),
    ],
)
def test_budget_that_cannot_be_held_against_a_price_stops_too(toy, azure, old, new, message):
    budget(toy, "run = 1000000.0")
    prices = toy.read("pipelines/prices.toml")
    assert old in prices
    toy.write("pipelines/prices.toml", prices.replace(old, new))
    outcome = toy.submit()
    assert outcome.status == 2
    assert message in outcome.err
    assert azure.recorder.requests == []


def test_without_a_budget_no_price_is_needed(toy):
    toy.write("pipelines/prices.toml", "nonsense")
    assert toy.submit().status == 0


def test_old_prices_are_told_where_a_budget_depends_on_them(toy):
    budget(toy, "run = 1.0")
    prices = PRICES.format(today="2020-01-01")
    toy.write("pipelines/prices.toml", prices)
    outcome = toy.submit()
    assert outcome.status == 0
    assert re.fullmatch(
        r"warning: the prices for westeurope in .* are dated 2020-01-01, \d+ days ago; "
        r"run `tfhub-blocks cost refresh`\n",
        outcome.err,
    )


def test_cluster_of_another_size_than_was_priced_is_refused(toy, azure):
    profile = toy.read("pipelines/profiles/toy.toml").replace("Standard_DS3_v2", "Small")
    toy.write("pipelines/profiles/toy.toml", profile)
    prices = toy.read("pipelines/prices.toml").replace("Standard_DS3_v2", "Small")
    toy.write("pipelines/prices.toml", prices)
    budget(toy, "run = 1.0")
    outcome = toy.submit()
    assert outcome.status == 2
    assert "[submit > cpu-cluster] size of cluster cpu-cluster is standard_ds3_v2" in outcome.err
    assert toy.jobs() == []


def test_schedule_that_could_go_beyond_the_budget_of_a_month_is_not_sent(toy, azure, golden):
    toy.write("pipelines/schedules/nightly.toml", SCHEDULE.format(words=toy.words))
    budget(toy, "month = 1.0")
    azure.recorder.clear()
    outcome = toy.main("schedule", "apply")
    assert outcome.status == 2
    assert azure.recorder.requests == []
    golden("error_budget_month", outcome.err)
    budget(toy, "month = 11.0")
    assert toy.main("schedule", "apply").status == 0


def test_schedules_share_the_budget_of_a_month_even_if_applied_one_by_one(toy, azure):
    budget(toy, "month = 11.0")
    for name in ("first", "second"):
        toy.write(f"pipelines/schedules/{name}.toml", SCHEDULE.format(words=toy.words))
    azure.recorder.clear()
    for words in ([], ["first"], ["second"]):
        outcome = toy.main("schedule", "apply", *words)
        assert outcome.status == 2
        assert "all schedules together may cost 20.09 USD in a month (" in outcome.err
    assert azure.recorder.requests == []


def test_schedule_whose_single_run_is_too_dear_is_not_sent(toy, azure):
    toy.write("pipelines/schedules/nightly.toml", SCHEDULE.format(words=toy.words))
    budget(toy, "run = 0.01")
    azure.recorder.clear()
    outcome = toy.main("schedule", "apply")
    assert "[budget > toy > budget.run]" in outcome.err
    assert azure.recorder.requests == []
