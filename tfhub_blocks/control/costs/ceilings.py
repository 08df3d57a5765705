"""The proven ceiling: the terms of each step of a graph, and the highest possible cost."""

# decisions 26 and 84

from collections.abc import Mapping
from dataclasses import dataclass

from tfhub_blocks.control.costs.prices import Prices, Tier
from tfhub_blocks.control.project.instance_counts import instance_count, role_of
from tfhub_blocks.control.project.profiles import SERVERLESS, Profile, Role, SpendingBudget
from tfhub_blocks.control.project.run_terms import Terms, total
from tfhub_blocks.control.project.step_graph import Graph, Node
from tfhub_blocks.records.base.errors import BlocksError

LOCAL = "local"
# The seconds in which a node is billed before its step begins: it starts, and pulls the image. The
# ceiling allows the first for each node of each attempt; the second is expected.
START_ALLOWANCE_S = 900
EXPECTED_START_S = 300


@dataclass(frozen=True)
class Ceiling:
    """The highest possible cost of a run, in a currency: starts, steps, and idle nodes."""

    currency: str
    steps: Mapping[str, Terms]

    @property
    def of_steps(self) -> float | None:
        """The highest possible cost of the steps alone; None if a price is unknown."""
        return total(terms.ceiling for terms in self.steps.values())

    @property
    def of_idle_nodes(self) -> float | None:
        """The highest possible cost of idle nodes after each step, until the cluster ends them."""
        return total(terms.idle_ceiling for terms in self.steps.values())

    @property
    def of_starts(self) -> float | None:
        """The highest possible cost of nodes that start, each within the stated allowance."""
        return total(
            terms.cost(START_ALLOWANCE_S * terms.attempts) for terms in self.steps.values()
        )

    @property
    def total(self) -> float | None:
        """The highest possible cost of starts, steps and idle nodes together."""
        return total([self.of_starts, self.of_steps, self.of_idle_nodes])

    @property
    def unbounded(self) -> tuple[str, ...]:
        """What Azure bills beside the total, which no limit of a run bounds, in words."""
        if not self.currency:
            return ()
        return (
            f"a node that starts for longer than {START_ALLOWANCE_S} s",
            "more restarts than budget.restarts",
            "load balancers, about 0.33 USD a day for 50 nodes of a cluster until it is deleted",
            "disks of nodes, storage, traffic, and images that are built",
        )

    def dearest(self, count: int = 3) -> list[tuple[str, Terms]]:
        """Return the steps with the highest ceilings, the most expensive first."""
        order = sorted(self.steps.items(), key=lambda item: -(item[1].ceiling or 0.0))
        return order[:count]


def ceiling(graph: Graph, profile: Profile, prices: Prices | None) -> Ceiling:
    """Return the ceiling of a graph under a profile.

    Args:
        graph: The steps.
        profile: The machines and time limits of each role.
        prices: The prices of machines; without prices only the terms of each step are known. Local
            runs cost nothing.

    Raises:
        BlocksError: A role, a size or a price is missing, or a time limit is not positive.
    """
    steps = {name: step_terms(node, profile, prices) for name, node in graph.nodes.items()}
    return Ceiling(prices.currency if prices else "", steps)


def step_terms(node: Node, profile: Profile, prices: Prices | None) -> Terms:
    """Return the terms of one step.

    Raises:
        BlocksError: A role, a size or a price is missing, or the time limit is not positive.
    """
    role = role_of(node, profile)
    count, timeout_s = instance_count(node, profile), node.timeout_s or role.timeout_s
    if timeout_s < 1:
        raise BlocksError(
            "pipeline",
            f"{node.name}.limits",
            f"the timeout of step {node.name} is {timeout_s} s",
            "at least 1 s, because the time limit bounds the cost",
            f"Set limits of step {node.name} in the pipeline to a positive timeout, or remove"
            " them, so that the profile decides",
        )
    if profile.engine == "local":
        return Terms(LOCAL, "", "", count, timeout_s, price_per_hour=0.0)
    cluster = profile.clusters.get(role.compute)
    size, tier = _machine(node, role, profile, must_be_known=prices is not None)
    price = None
    if prices is not None:
        price = prices.price_per_hour(size, tier, cluster.location if cluster else None)
    return Terms(
        compute=role.compute,
        size=size,
        tier=tier,
        instances=count,
        timeout_s=timeout_s,
        attempts=low_priority_attempts(profile.budget) if tier == "low_priority" else 1,
        idle_s=cluster.idle_s if cluster else 0,
        price_per_hour=price,
    )


def low_priority_attempts(budget: SpendingBudget | None) -> int:
    """Return the number of attempts counted for a step whose nodes Azure may reclaim."""
    return 1 + (budget or SpendingBudget("")).restarts


def _machine(node: Node, role: Role, profile: Profile, must_be_known: bool) -> tuple[str, Tier]:
    """Return the machine size of a role, and its tier."""
    if role.compute == SERVERLESS:
        # Azure ML's spot queue runs on low-priority machines.
        is_spot = profile.job is not None and profile.job.tier == "spot"
        return role.size or "", "low_priority" if is_spot else "dedicated"
    cluster = profile.clusters.get(role.compute)
    if cluster is not None:
        return cluster.size, "low_priority" if cluster.low_priority else "dedicated"
    if must_be_known:
        raise BlocksError(
            "profile",
            profile.name,
            f"profile {profile.name} does not define cluster {role.compute}, on which step"
            f" {node.name} runs",
            f"a table [clusters.{role.compute}] with size and max_nodes, which set the price",
            f"Add [clusters.{role.compute}] to {profile.path}",
        )
    return "", "dedicated"
