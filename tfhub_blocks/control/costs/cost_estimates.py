"""The cost of a run before it starts: highest possible, expected, and saved by reuse, by step."""

# decisions 84 and 88

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfhub_blocks.control.costs.ceilings import EXPECTED_START_S, Ceiling, ceiling
from tfhub_blocks.control.costs.cost_budgets import check_currency
from tfhub_blocks.control.costs.duration_forecast import Past
from tfhub_blocks.control.costs.prices import Prices
from tfhub_blocks.control.costs.reuse_forecast import made_steps
from tfhub_blocks.control.project.profiles import Profile, SpendingBudget
from tfhub_blocks.control.project.run_terms import Terms, total
from tfhub_blocks.control.project.step_graph import Graph

_DAY_S = 86_400.0


@dataclass(frozen=True)
class StepEstimate:
    """One step: its terms, the source of its expected duration, and the run to reuse, if any."""

    component: str
    terms: Terms
    basis: str
    made_by: str = ""

    @property
    def expected(self) -> float | None:
        """The expected cost of the step; zero if the step is reused."""
        return 0.0 if self.made_by else self.terms.expected

    @property
    def saved(self) -> float | None:
        """The cost that reuse of the step saves."""
        return self.terms.expected if self.made_by else 0.0


@dataclass(frozen=True)
class CostEstimate:
    """The cost of a run of a graph, before it starts."""

    name: str
    profile: str
    prices_of: str
    budget: SpendingBudget | None
    most: Ceiling
    steps: Mapping[str, StepEstimate]

    @property
    def expected(self) -> float | None:
        """The expected cost of the steps that are not reused."""
        return total(step.expected for step in self.steps.values())

    @property
    def saved(self) -> float | None:
        """The cost that reuse saves."""
        return total(step.saved for step in self.steps.values())

    @property
    def saved_s(self) -> float:
        """The seconds of steps that reuse saves, as far as their durations are known."""
        return sum(it.terms.expected_s or 0.0 for it in self.steps.values() if it.made_by)

    @property
    def expected_idle(self) -> float | None:
        """The highest cost of idle nodes after the last step on each cluster, if all goes well."""
        return self._once_a_cluster(lambda terms: terms.idle_ceiling)

    @property
    def expected_starts(self) -> float | None:
        """The expected cost of nodes that start: once on each cluster."""
        return self._once_a_cluster(lambda terms: terms.cost(EXPECTED_START_S))

    @property
    def expected_disks(self) -> float:
        """The expected cost of the nodes' disks: while they start, work and idle."""
        clusters: dict[str, float] = {}
        cost = 0.0
        for terms in (step.terms for step in self.steps.values() if not step.made_by):
            cost += terms.disk_cost(_expected_s(terms))
            once = terms.disk_cost(EXPECTED_START_S + terms.idle_s)
            clusters[terms.compute] = max(once, clusters.get(terms.compute, 0.0))
        return cost + sum(clusters.values())

    @property
    def expected_balancers(self) -> float:
        """The expected cost of load balancers, if the steps follow each other."""
        left = [step.terms for step in self.steps.values() if not step.made_by]
        clusters = {it.compute: it.balancers_per_day or 0.0 for it in left}
        seconds = sum(map(_expected_s, left)) + EXPECTED_START_S * len(clusters)
        return sum(clusters.values()) * seconds / _DAY_S

    def _once_a_cluster(self, cost: Callable[[Terms], float | None]) -> float | None:
        """Return the sum over all clusters of the largest cost among a cluster's steps."""
        clusters: dict[str, list[float | None]] = {}
        for step in self.steps.values():
            if not step.made_by:
                clusters.setdefault(step.terms.compute, []).append(cost(step.terms))
        return total(None if None in of else max(it or 0 for it in of) for of in clusters.values())

    @property
    def expected_total(self) -> float | None:
        """The expected cost of all parts together."""
        return total(
            [
                self.expected_starts,
                self.expected,
                self.expected_idle,
                self.expected_disks,
                self.expected_balancers,
            ]
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the estimate, JSON-ready; amounts in ``currency``, None where unknown."""
        return {
            "pipeline": self.name,
            "profile": self.profile,
            "currency": self.most.currency,
            "prices_of": self.prices_of,
            "ceiling": self.most.total,
            "ceiling_of_starts": self.most.of_starts,
            "ceiling_of_steps": self.most.of_steps,
            "ceiling_of_idle_nodes": self.most.of_idle_nodes,
            "ceiling_of_disks": self.most.of_disks,
            "ceiling_of_load_balancers": self.most.of_balancers,
            "expected_of_starts": self.expected_starts,
            "expected_of_steps": self.expected,
            "expected_of_idle_nodes": self.expected_idle,
            "expected_of_disks": self.expected_disks,
            "expected_of_load_balancers": self.expected_balancers,
            "expected": self.expected_total,
            "not_bounded": list(self.most.unbounded),
            "saved_by_reuse": self.saved,
            "saved_by_reuse_s": self.saved_s,
            "budget_of_run": self.budget.run if self.budget else None,
            "steps": {
                name: {
                    "component": step.component,
                    **step.terms.as_dict(),
                    "ceiling": step.terms.ceiling,
                    "expected": step.expected,
                    "basis": step.basis,
                    "made_by": step.made_by or None,
                    "saved": step.saved,
                }
                for name, step in self.steps.items()
            },
        }


def _expected_s(terms: Terms) -> float:
    """Return the expected seconds of a step; its limits if no duration is expected."""
    return terms.timeout_s * terms.attempts if terms.expected_s is None else terms.expected_s


def estimate(
    graph: Graph, profile: Profile, prices: Prices | None, folder: Path, items: int | None = None
) -> CostEstimate:
    """Return the cost of a run of a graph.

    Args:
        graph: The steps with their inputs, from a pipeline or from a lock.
        profile: The machines and limits.
        prices: The prices of machines; required for Azure ML.
        folder: ``.runs``, whose records contain the durations of earlier steps.
        items: The number of items, for steps whose throughput in earlier runs is known.

    Raises:
        BlocksError: A size has no price, or the budget has another currency.
    """
    if prices is not None:
        check_currency(profile, prices)
    most, past = ceiling(graph, profile, prices), Past.of(folder)
    made = made_steps(graph, profile, folder)
    steps = {}
    for name, terms in most.steps.items():
        component = graph.nodes[name].component
        found = past.expectation(component, terms, items)
        basis = f"reused from {made[name]}" if name in made else found.basis
        expected = replace(terms, expected_s=found.seconds)
        steps[name] = StepEstimate(component, expected, basis, made.get(name, ""))
    day = prices.day() if prices is not None else ""
    return CostEstimate(graph.name, profile.name, day, profile.budget, most, steps)
