"""The proven ceiling: the terms of each step of a graph, and the highest possible cost."""

# decisions 26, 84 and 88

from collections.abc import Mapping
from dataclasses import dataclass

from tfhub_blocks.control.costs.prices import Prices, RegionPrices, Tier, money
from tfhub_blocks.control.project.instance_counts import instance_count, role_of
from tfhub_blocks.control.project.profiles import SERVERLESS, Cluster, Profile, Role, SpendingBudget
from tfhub_blocks.control.project.run_terms import Terms, total
from tfhub_blocks.control.project.step_graph import Graph, Node
from tfhub_blocks.records.base.errors import BlocksError

LOCAL = "local"
# The seconds in which a node is billed before its step begins: it starts, and pulls the image. The
# ceiling allows the first for each node of each attempt; the second is expected.
START_ALLOWANCE_S = 900
EXPECTED_START_S = 300
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Ceiling:
    """The highest possible cost of a run, in a currency.

    It counts starts, steps, idle nodes, disks of nodes, and load balancers while the run lasts.
    """

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
    def of_disks(self) -> float:
        """The highest possible cost of the nodes' disks; 0 where no price of disks is known."""
        return sum(terms.disk_cost(_longest_s(terms)) for terms in self.steps.values())

    @property
    def of_balancers(self) -> float:
        """The highest possible cost of the clusters' load balancers while the run lasts.

        The steps of a run may follow each other, so the run may last as long as all of them.
        """
        longest_s = sum(_longest_s(terms) for terms in self.steps.values())
        return self.balancers_per_day * longest_s / _DAY_S

    @property
    def balancers_per_day(self) -> float:
        """The price of a day of the load balancers of all clusters of the run."""
        clusters = {it.compute: it.balancers_per_day or 0.0 for it in self.steps.values()}
        return sum(clusters.values())

    @property
    def total(self) -> float | None:
        """The highest possible cost of all parts together."""
        return total(
            [self.of_starts, self.of_steps, self.of_idle_nodes, self.of_disks, self.of_balancers]
        )

    @property
    def unbounded(self) -> tuple[str, ...]:
        """What Azure bills beside the total, which no limit of a run bounds, in words."""
        if not self.currency:
            return ()
        steps = self.steps.values()
        balancers = "load balancers of clusters"
        if all(it.balancers_per_day is not None for it in steps):
            balancers += " between runs"
            if self.balancers_per_day:
                balancers += f", {money(self.balancers_per_day)} a day until they are deleted"
        disks = "disks of nodes, " if any(it.disk_per_hour is None for it in steps) else ""
        return (
            f"a node that starts for longer than {START_ALLOWANCE_S} s",
            "more restarts than budget.restarts",
            balancers,
            f"{disks}storage, traffic, and images that are built",
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
    price, region = None, None
    if prices is not None:
        location = cluster.location if cluster else None
        price = prices.price_per_hour(size, tier, location)
        region = prices.region_prices(location)
    return Terms(
        compute=role.compute,
        size=size,
        tier=tier,
        instances=count,
        timeout_s=timeout_s,
        attempts=low_priority_attempts(profile.budget) if tier == "low_priority" else 1,
        idle_s=cluster.idle_s if cluster else 0,
        price_per_hour=price,
        disk_per_hour=region.disk_per_hour if region else None,
        balancers_per_day=_balancers(cluster, region),
    )


def _longest_s(terms: Terms) -> float:
    """Return the longest time for which nodes of a step are billed: starts, attempts, idling."""
    return (START_ALLOWANCE_S + terms.timeout_s) * terms.attempts + terms.idle_s


def low_priority_attempts(budget: SpendingBudget | None) -> int:
    """Return the number of attempts counted for a step whose nodes Azure may reclaim."""
    return 1 + (budget or SpendingBudget("")).restarts


def _balancers(cluster: Cluster | None, region: RegionPrices | None) -> float | None:
    """Return the price of a day of a cluster's load balancers; serverless compute has none."""
    if cluster is None:
        return 0.0
    return region.balancers_per_day(cluster.max_nodes) if region else None


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
