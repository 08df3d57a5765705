"""10,000 random runs, billed by Azure's rules: none costs more than its ceiling.

The rules: a node is billed by the second from its start to its release, also while it pulls an
image, idles, or runs an attempt that Azure then ends (learn.microsoft.com/azure/machine-learning/
concept-plan-manage-cost). Ceilings are proven for starts within the allowance and restarts within
the budget; how long steps take, and how often nodes are taken away, is assumed.
"""

import random
from dataclasses import replace

from test_cost_budgets import graph, node

from tfhub_blocks.control.costs.ceilings import (
    EXPECTED_START_S,
    START_ALLOWANCE_S,
    Ceiling,
    ceiling,
)
from tfhub_blocks.control.costs.cost_estimates import CostEstimate, StepEstimate
from tfhub_blocks.control.costs.prices import Prices, RegionPrices, SizePrices
from tfhub_blocks.control.project.profiles import Cluster, Profile, Role, SpendingBudget

RUNS, TAKEN_AWAY, FAILS = 10_000, 0.02, 0.02
SIZES = {"S": SizePrices(0.2, 0.04), "L": SizePrices(3.0, 0.6)}
PRICES = Prices("USD", "eastus", {"eastus": RegionPrices("2026-01-31", "a test", SIZES)}, path="x")


def random_case(chance):
    """A pipeline of up to eight steps on one or two clusters, and its profile."""
    clusters, roles = {}, {}
    for role, size in (("cpu", "S"), ("gpu", "L")):
        low, idle_s = chance.random() < 0.5, chance.choice([0, 120, 600])
        clusters[role] = Cluster(size, 8, idle_s=idle_s, low_priority=low)
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


def bill(chance, terms):
    """What Azure bills for a run of these steps, one after the other."""
    now, costs, warm = 0.0, 0.0, {}  # warm: nodes of a cluster, since when they idle
    for step in terms.values():
        nodes, since = warm.pop(step.compute, (0, now))
        if now - since >= step.idle_s:
            costs += nodes * step.price_per_hour * step.idle_s / 3600
            nodes = 0
        else:
            costs += nodes * step.price_per_hour * (now - since) / 3600
        attempts = step.attempts if step.tier == "low_priority" else 1
        for attempt in range(attempts):
            begin_s = start_s(chance) if nodes < step.instances else 0.0
            took_s = min(step.timeout_s, step.expected_s * chance.lognormvariate(0, 0.1))
            taken = attempt + 1 < attempts and chance.random() < TAKEN_AWAY
            if taken:
                took_s *= chance.random()
            # Nodes that wait for others are billed too; those that nobody needs idle and go.
            costs += step.instances * step.price_per_hour * (begin_s + took_s) / 3600
            spare_s = min(begin_s + took_s, max(0.0, step.idle_s - (now - since)))
            costs += max(0, nodes - step.instances) * step.price_per_hour * spare_s / 3600
            now += begin_s + took_s
            nodes = step.instances - 1 if taken else step.instances
            if not taken:
                break
        warm[step.compute] = (nodes, now)
        if chance.random() < FAILS:
            break
    for compute, (nodes, _) in warm.items():
        last = [step for step in terms.values() if step.compute == compute][-1]
        costs += nodes * last.price_per_hour * last.idle_s / 3600
    return costs


def test_no_run_costs_more_than_its_ceiling_and_most_cost_what_is_expected():
    chance, near = random.Random(1), 0  # noqa: S311
    for _ in range(RUNS):
        pipeline, profile = random_case(chance)
        most = ceiling(pipeline, profile, PRICES)
        terms = {
            name: replace(it, expected_s=chance.uniform(1800, 10_000))
            for name, it in most.steps.items()
        }
        steps = {name: StepEstimate("make", it, "") for name, it in terms.items()}
        found = CostEstimate("x", "x", "", None, Ceiling("USD", terms), steps)
        billed = bill(chance, terms)
        assert billed <= most.total
        near += abs(found.expected_total - billed) <= 0.25 * billed
    assert near >= 0.9 * RUNS
