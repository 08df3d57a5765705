"""The proven ceiling: on which terms each step of a graph runs, and what it costs at most."""

from collections.abc import Mapping
from dataclasses import dataclass

from tfhub_blocks.control.costs.prices import Prices, Tier
from tfhub_blocks.control.project.instance_counts import instance_count, role_of
from tfhub_blocks.control.project.profiles import SERVERLESS, Profile, Role, SpendingBudget
from tfhub_blocks.control.project.run_terms import Terms, total
from tfhub_blocks.control.project.step_graph import Graph, Node
from tfhub_blocks.records.base.errors import BlocksError

LOCAL = "local"


@dataclass(frozen=True)
class Ceiling:
    """The most that a run costs, in a currency: what its steps take, and their idle nodes."""

    currency: str
    steps: Mapping[str, Terms]

    @property
    def of_steps(self) -> float | None:
        """Of the steps alone; None if a price is not known."""
        return total(terms.ceiling for terms in self.steps.values())

    @property
    def of_idle_nodes(self) -> float | None:
        """Of nodes that wait for work after each step, until their cluster takes them away."""
        return total(terms.idle_ceiling for terms in self.steps.values())

    @property
    def total(self) -> float | None:
        """Of both."""
        return total([self.of_steps, self.of_idle_nodes])

    def dearest(self, count: int = 3) -> list[tuple[str, Terms]]:
        """The steps that cost the most of it, the dearest first."""
        order = sorted(self.steps.items(), key=lambda item: -(item[1].ceiling or 0.0))
        return order[:count]


def ceiling(graph: Graph, profile: Profile, prices: Prices | None) -> Ceiling:
    """The ceiling of a graph under a profile.

    Args:
        graph: The steps.
        profile: On what each role runs, and for how long.
        prices: What that costs; without them the terms of each step alone. This machine costs
            nothing.

    Raises:
        BlocksError: A role, a size or a price is missing, or a limit is none.
    """
    steps = {name: step_terms(node, profile, prices) for name, node in graph.nodes.items()}
    return Ceiling(prices.currency if prices else "", steps)


def step_terms(node: Node, profile: Profile, prices: Prices | None) -> Terms:
    """The terms of one step.

    Raises:
        BlocksError: A role, a size or a price is missing, or a limit is none.
    """
    role = role_of(node, profile)
    count, timeout_s = instance_count(node, profile), node.timeout_s or role.timeout_s
    if timeout_s < 1:
        raise BlocksError(
            "pipeline",
            f"{node.name}.limits",
            f"its timeout is {timeout_s}",
            "seconds, at least 1: without a limit nothing bounds what it costs",
            "correct it in the pipeline, or leave it to the profile",
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
    """How often a step is counted whose nodes may be taken away, and which then begins again."""
    return 1 + (budget or SpendingBudget("")).restarts


def _machine(node: Node, role: Role, profile: Profile, must_be_known: bool) -> tuple[str, Tier]:
    """The size of the machines of a role, and whether they may be taken away."""
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
            f"it does not say what {role.compute} is, on which step {node.name} runs",
            f"[clusters.{role.compute}] with its size and max_nodes, which price it",
            "add it",
        )
    return "", "dedicated"
