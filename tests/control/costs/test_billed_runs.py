"""10,000 random runs and endpoints, billed by Azure's rules: none costs more than its ceiling.

The rules: a node and its disk are billed by the second from its start to its release, also while it
pulls an image, idles, or runs an attempt that Azure then ends. A cluster has one load balancer for
every 50 nodes, which is billed by the day until the cluster is deleted. An endpoint's deployments
are billed until they are deleted, failed ones too (learn.microsoft.com/azure/machine-learning/
concept-plan-manage-cost and how-to-deploy-online-endpoints). Ceilings are proven for starts within
the allowance and restarts within the budget; how long steps take, and how often nodes are taken
away, is assumed.
"""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from test_cost_budgets import graph, node

from tfhub_blocks.control.costs.ceilings import (
    EXPECTED_START_S,
    START_ALLOWANCE_S,
    Ceiling,
    ceiling,
)
from tfhub_blocks.control.costs.cost_estimates import CostEstimate, StepEstimate
from tfhub_blocks.control.costs.prices import Prices, RegionPrices, SizePrices
from tfhub_blocks.control.deployments.end_dates import End
from tfhub_blocks.control.deployments.endpoint_budgets import check_cost
from tfhub_blocks.control.project.profiles import (
    Cluster,
    Deployments,
    Profile,
    Role,
    SpendingBudget,
)
from tfhub_blocks.control.project.triggers import make_trigger

TAKEN_AWAY, FAILS = 0.02, 0.02
MANY = [pytest.param(400, id="some"), pytest.param(10_000, id="all", marks=pytest.mark.slow)]
SIZES = {"S": SizePrices(0.2, 0.04), "L": SizePrices(3.0, 0.6)}
REGION = RegionPrices("2026-01-31", "a test", SIZES, load_balancer_day=0.33, disk_month=19.71)
PRICES = Prices("USD", "eastus", {"eastus": REGION}, path="x")


def random_case(chance):
    """A pipeline of up to eight steps on one or two clusters, and its profile."""
    clusters, roles = {}, {}
    for role, size in (("cpu", "S"), ("gpu", "L")):
        low, idle_s = chance.random() < 0.5, chance.choice([0, 120, 600])
        clusters[role] = Cluster(size, chance.choice([8, 120]), idle_s=idle_s, low_priority=low)
        roles[role] = Role(role, timeout_s=14_400)
    nodes = []
    for number in range(chance.randint(1, 8)):
        shared = {"shares_work": True, "instance_count": chance.randint(1, 4)}
        more = shared if chance.random() < 0.3 else {}
        nodes.append(node(f"s{number}", chance.choice(["cpu", "gpu"]), **more))
    budget = SpendingBudget("USD", 1e6, restarts=chance.randint(0, 3))
    return graph(*nodes), Profile("x", "azureml", roles, budget=budget, clusters=clusters)


def start_s(chance):
    """Most nodes start within ten minutes, some take as long as is allowed."""
    if chance.random() < 0.02:
        return START_ALLOWANCE_S
    return min(START_ALLOWANCE_S, EXPECTED_START_S * chance.lognormvariate(0, 0.25))


def bill(chance, terms, clusters):
    """What Azure bills for a run of these steps, one after the other."""
    now, costs, warm = 0.0, 0.0, {}  # warm: nodes of a cluster, since when they idle

    def price(step, seconds):
        """The price of one node with its disk."""
        return (step.price_per_hour + REGION.disk_month / 730) * seconds / 3600

    for step in terms.values():
        nodes, since = warm.pop(step.compute, (0, now))
        if now - since >= step.idle_s:
            costs += nodes * price(step, step.idle_s)
            nodes = 0
        else:
            costs += nodes * price(step, now - since)
        attempts = step.attempts if step.tier == "low_priority" else 1
        for attempt in range(attempts):
            begin_s = start_s(chance) if nodes < step.instances else 0.0
            took_s = min(step.timeout_s, step.expected_s * chance.lognormvariate(0, 0.1))
            taken = attempt + 1 < attempts and chance.random() < TAKEN_AWAY
            if taken:
                took_s *= chance.random()
            # Nodes that wait for others are billed too; those that nobody needs idle and go.
            costs += step.instances * price(step, begin_s + took_s)
            spare_s = min(begin_s + took_s, max(0.0, step.idle_s - (now - since)))
            costs += max(0, nodes - step.instances) * price(step, spare_s)
            now += begin_s + took_s
            nodes = step.instances - 1 if taken else step.instances
            if not taken:
                break
        warm[step.compute] = (nodes, now)
        if chance.random() < FAILS:
            break
    last = {step.compute: step for step in terms.values()}
    for compute, (nodes, _) in warm.items():
        costs += nodes * price(last[compute], last[compute].idle_s)
    # The load balancers of all clusters of the run, until its last node is gone.
    end = max(since + last[compute].idle_s for compute, (_, since) in warm.items())
    balancers = sum(-(-clusters[it].max_nodes // 50) * 0.33 for it in last)
    return costs + balancers * end / 86_400


@pytest.mark.parametrize("runs", MANY)
def test_no_run_costs_more_than_its_ceiling_and_most_cost_what_is_expected(runs):
    chance, near = random.Random(1), 0  # noqa: S311
    for _ in range(runs):
        pipeline, profile = random_case(chance)
        most = ceiling(pipeline, profile, PRICES)
        terms = {
            name: replace(it, expected_s=chance.uniform(1800, 10_000))
            for name, it in most.steps.items()
        }
        steps = {name: StepEstimate("make", it, "") for name, it in terms.items()}
        found = CostEstimate("x", "x", "", None, Ceiling("USD", terms), steps)
        billed = bill(chance, terms, profile.clusters)
        assert billed <= most.total
        near += abs(found.expected_total - billed) <= 0.25 * billed
    assert near >= 0.9 * runs


def random_endpoint(chance):
    """A time to deploy, an end, and a profile whose schedule ends endpoints at some time."""
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.uniform(0, 86_400 * 365))
    end = End(now.date() + timedelta(days=chance.randint(0, 30)))
    days = chance.choice(["*", "*", "1-5", "0"])
    cron = f"{chance.randint(0, 59)} {chance.randint(0, 23)} * * {days}"
    budget = SpendingBudget("USD", 1e6, restarts=chance.randint(0, 2), endpoints=1e9)
    clusters = {"ops": Cluster("S", 1, low_priority=chance.random() < 0.5)}
    roles = {"operations": Role("ops", timeout_s=chance.choice([300, 900]))}
    deployments = Deployments(30, cron)
    more = {"budget": budget, "clusters": clusters, "deployments": deployments}
    return now, end, Profile("x", "azureml", roles, **more)


def bill_endpoint(chance, now, end, profile, prices):
    """What Azure bills for deployments, of which some fail, until the schedule deletes all."""
    role, cluster = profile.roles["operations"], profile.clusters["ops"]
    attempts = 1 + profile.budget.restarts if cluster.low_priority else 1
    trigger = make_trigger("x", "UTC", profile.deployments.reap, None)
    fired = next(trigger.times(end.time - timedelta(seconds=1), end.time + timedelta(days=8)))
    lasts_s = 0.0
    for attempt in range(attempts):
        taken = attempt + 1 < attempts and chance.random() < 0.3
        work_s = role.timeout_s * (chance.random() if taken else chance.uniform(0.1, 1))
        lasts_s += start_s(chance) + work_s
        if not taken:
            break
    deleted = fired + timedelta(seconds=lasts_s)
    costs = 0.0
    for price in prices:
        # A failed deployment is deleted at once, or by the schedule if that was refused.
        failed_s = chance.uniform(60, 7200) if chance.random() < 0.2 else None
        gone = now + timedelta(seconds=failed_s) if failed_s and chance.random() < 0.9 else deleted
        costs += price * (min(gone, deleted) - now).total_seconds() / 3600
    return costs


@pytest.mark.parametrize("endpoints", MANY)
def test_no_endpoint_costs_more_than_its_ceiling(endpoints):
    chance = random.Random(2)  # noqa: S311
    for _ in range(endpoints):
        now, end, profile = random_endpoint(chance)
        prices = [chance.choice([0.25, 3.0]) for _ in range(chance.randint(1, 3))]
        most = check_cost(profile, PRICES, end, now, sum(prices), [])
        billed = bill_endpoint(chance, now, end, profile, prices)
        assert billed <= most.total
        # Without the time after the end date it would not have been a ceiling.
        assert most.late > 0
