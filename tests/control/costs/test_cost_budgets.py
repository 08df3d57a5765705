"""What a run costs at most, and the budget that it has to keep."""

import pytest

from tfhub_blocks.control.costs.ceilings import ceiling
from tfhub_blocks.control.costs.cost_budgets import budget_findings, month_findings
from tfhub_blocks.control.costs.prices import Prices, RegionPrices, SizePrices
from tfhub_blocks.control.project.profiles import (
    Cluster,
    JobSettings,
    Profile,
    Role,
    SpendingBudget,
    load_profile,
)
from tfhub_blocks.control.project.step_graph import Graph, Node
from tfhub_blocks.records.base.errors import BlocksError

PRICES = Prices(
    "USD",
    "eastus",
    {"eastus": RegionPrices("2026-01-31", "a test", {"S": SizePrices(2.0, 0.5)})},
    path="prices.toml",
)


def node(name="step", role="cpu", timeout_s=None, **more):
    given = {"shares_work": False, "instance_count": None} | more
    return Node(
        *(name, "make", "1", role, "azureml:x:1", "true", True, timeout_s, {}, {}, {}, None),
        **given,
    )


def graph(*nodes):
    return Graph("toy", {node.name: node for node in nodes}, {})


def profile(budget=None, cluster=None, **role):
    clusters = {"pool": cluster or Cluster("S", 8, idle_s=360)}
    roles = {"cpu": Role(**{"compute": "pool", "timeout_s": 3600} | role)}
    job = JobSettings("us", "ours")
    return Profile("x", "azureml", roles, job=job, budget=budget, clusters=clusters, name="toy")


def test_ceiling_is_time_by_machines_by_price_with_idle_nodes_apart():
    wide = node("wide", timeout_s=1800, shares_work=True, instance_count=4)
    most = ceiling(graph(node("one"), wide), profile(), PRICES)
    assert most.steps["one"].ceiling == 2.0
    assert most.steps["wide"].ceiling == 4.0
    assert most.of_steps == 6.0
    assert most.of_idle_nodes == pytest.approx(360 / 3600 * 2.0 * 5)
    # Each node of each step may take 900 s to start.
    assert most.of_starts == pytest.approx(900 / 3600 * 2.0 * 5)
    assert most.total == pytest.approx(9.5)
    assert [name for name, _ in most.dearest()] == ["wide", "one"]


def test_disks_and_load_balancers_are_counted_while_the_run_may_last():
    extras = {"load_balancer_day": 0.24, "disk_month": 73.0}
    region = RegionPrices("2026-01-31", "a test", {"S": SizePrices(2.0, 0.5)}, **extras)
    prices = Prices("USD", "eastus", {"eastus": region}, path="prices.toml")
    wide = node("wide", timeout_s=1800, shares_work=True, instance_count=4)
    steps = graph(node("one"), wide)
    most = ceiling(steps, profile(cluster=Cluster("S", 120, idle_s=360)), prices)
    # A node starts for 900 s and idles for 360 s; a disk costs 0.1 an hour.
    one_s, wide_s = 900 + 3600 + 360, 900 + 1800 + 360
    assert most.of_disks == pytest.approx((one_s + 4 * wide_s) / 3600 * 0.1)
    # A cluster of 120 nodes has three load balancers.
    assert most.of_balancers == pytest.approx(3 * 0.24 * (one_s + wide_s) / 86_400)
    assert most.total == pytest.approx(9.5 + most.of_disks + most.of_balancers)
    assert "load balancers of clusters between runs, 0.7200 a day until they are deleted" in (
        most.unbounded
    )
    bare = ceiling(steps, profile(), PRICES)
    assert (bare.of_disks, bare.of_balancers) == (0.0, 0.0)
    assert "load balancers of clusters" in bare.unbounded
    serverless = ceiling(graph(node("one")), profile(compute="serverless", size="S"), prices)
    assert serverless.of_balancers == 0.0


def test_month_counts_load_balancers_once_and_not_for_each_run():
    most = ceiling(graph(node("one")), profile(), PRICES)
    budget = SpendingBudget("USD", month=31 * most.total + 10.0)
    scheduled = [("nightly", most, 31)]
    assert list(month_findings(scheduled, profile(budget), 9.9)) == []
    [found] = month_findings(scheduled, profile(budget), 10.23)
    assert "load balancers 10.23" in found.problem


@pytest.mark.parametrize(("restarts", "attempts"), [(0, 1), (1, 2), (3, 4)])
def test_step_whose_nodes_may_be_taken_away_is_counted_as_begun_again(restarts, attempts):
    low = Cluster("S", 1, low_priority=True, idle_s=0)
    most = ceiling(
        graph(node()), profile(SpendingBudget("USD", 9.0, restarts=restarts), low), PRICES
    )
    assert most.total == pytest.approx(0.625 * attempts)
    most = ceiling(graph(node()), profile(SpendingBudget("USD", 9.0, restarts=restarts)), PRICES)
    assert most.steps["step"].attempts == 1


def test_serverless_steps_have_a_price_and_no_idle_nodes():
    serverless = profile(compute="serverless", size="S")
    most = ceiling(graph(node()), serverless, PRICES)
    assert (most.of_steps, most.of_idle_nodes) == (2.0, 0.0)


def test_cluster_that_the_profile_does_not_describe_has_no_price():
    with pytest.raises(BlocksError, match=r"Add \[clusters.other\]"):
        ceiling(graph(node()), profile(compute="other"), PRICES)
    with pytest.raises(BlocksError, match="no price for Huge in eastus"):
        ceiling(graph(node()), profile(cluster=Cluster("Huge", 1)), PRICES)
    with pytest.raises(BlocksError, match="no prices for region westeurope"):
        ceiling(graph(node()), profile(cluster=Cluster("S", 1, location="westeurope")), PRICES)


def test_negative_timeout_does_not_make_a_run_cheap():
    with pytest.raises(BlocksError, match="timeout of step step is -3600 s"):
        ceiling(graph(node(timeout_s=-3600)), profile(), PRICES)


def test_budget_is_kept_to_the_cent_and_not_beyond():
    exact = profile(SpendingBudget("USD", run=2.5), Cluster("S", 1, idle_s=0))
    assert budget_findings(graph(node()), exact, PRICES) == []
    [finding] = budget_findings(graph(node(timeout_s=3601)), exact, PRICES)
    assert finding.key == "budget.run"
    assert finding.nodes == ("step",)
    assert "step 2.00 (3601 s on S dedicated)" in finding.problem


def test_runs_of_a_month_are_held_against_the_budget_of_a_month():
    monthly = profile(SpendingBudget("USD", month=25.0), Cluster("S", 1, idle_s=0))
    assert budget_findings(graph(node()), monthly, PRICES) == []
    assert budget_findings(graph(node()), monthly, PRICES, runs_per_month=10) == []
    [finding] = budget_findings(graph(*map(node, "abcdefghijk")), monthly, PRICES)
    assert finding.key == "budget.month"
    assert "a run may cost 27.50 USD" in finding.problem
    [finding] = budget_findings(graph(node()), monthly, PRICES, runs_per_month=11)
    assert finding.key == "budget.month"
    assert "11 runs a month may cost 27.50 USD" in finding.problem


def test_budget_in_another_currency_than_the_prices_is_refused():
    with pytest.raises(BlocksError, match=r"budget\.currency\] the budget is in EUR"):
        budget_findings(graph(node()), profile(SpendingBudget("EUR", run=1e9)), PRICES)


PROFILE = """format_version = 1
description = "x"
engine = "azureml"
[job]
owner = "us"
cost_centre = "ours"
[roles.cpu]
compute = "pool"
timeout_s = 60
[budget]
"""


def test_budget_where_nothing_is_paid_for_is_refused(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text(PROFILE.replace('"azureml"', '"local"') + 'currency = "USD"\nrun = 1.0')
    with pytest.raises(BlocksError, match="where runs cost nothing"):
        load_profile(str(path))


@pytest.mark.parametrize(
    ("budget", "key"),
    [
        ('currency = "USD"', "budget] table [budget] sets neither run nor month"),
        ('currency = "USD"\nrun = 20.0\nmonth = 10.0', "budget.run] run is 20.0. Expected at most"),
        ('currency = "USD"\nrun = nan', "budget.run] run is nan"),
        ('currency = "USD"\nrun = inf', "budget.run] run is inf"),
        ('currency = "USD"\nmonth = 0', "budget.month] month is 0.0"),
        ('currency = "usd"\nrun = 1', "budget.currency] currency is 'usd'"),
        ('currency = "USD"\nrun = 1\nrestarts = -1', "budget.restarts] restarts is -1"),
        ("run = 1", "key 'budget.currency' is missing"),
        ('currency = "USD"\nruns = 1', "'budget.run'"),
    ],
)
def test_contradictory_budget_is_refused_with_its_key(tmp_path, budget, key):
    path = tmp_path / "toy.toml"
    path.write_text(PROFILE + budget)
    with pytest.raises(BlocksError) as caught:
        load_profile(str(path))
    assert key in str(caught.value)
