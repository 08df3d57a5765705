"""Budgets: limits that stop a run or a schedule before anything is sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tfhub_blocks.control.costs.ceilings import Ceiling, ceiling
from tfhub_blocks.control.costs.prices import Prices, load_prices, money
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_terms import Terms
from tfhub_blocks.control.project.step_graph import Graph
from tfhub_blocks.records.base.errors import BlocksError


@dataclass(frozen=True)
class BudgetFinding:
    """A budget that a ceiling exceeds.

    ``key`` is the budget's key in the profile, and ``nodes`` are the most expensive steps.
    """

    key: str
    nodes: tuple[str, ...]
    problem: str
    expected: str
    remedy: str

    def error(self, profile: Profile) -> BlocksError:
        """Return the finding as the error that stops a command."""
        what = f"{profile.name} > {self.key}"
        return BlocksError("budget", what, self.problem, self.expected, self.remedy)


def budget_findings(
    graph: Graph, profile: Profile, prices: Prices | None = None, runs_per_month: int | None = None
) -> list[BudgetFinding]:
    """Return each limit of a profile's budget that a graph could exceed; none without a budget.

    Args:
        graph: The steps.
        profile: Its roles, clusters and budget.
        prices: The prices of machines; by default those of the project, if the profile has a
            budget.
        runs_per_month: The number of runs to compare with the monthly budget; by default one.

    Raises:
        BlocksError: A machine has no price, or the budget and the prices have different currencies.
    """
    if profile.budget is None or profile.engine == "local":
        return []
    prices = prices or load_prices()
    check_currency(profile, prices)
    return list(_findings(ceiling(graph, profile, prices), profile, runs_per_month))


def check_currency(profile: Profile, prices: Prices) -> None:
    """Check that a budget has the currency of the prices.

    Raises:
        BlocksError: The currencies differ.
    """
    if profile.budget and profile.budget.currency != prices.currency:
        raise BlocksError(
            "profile",
            f"{profile.name} > budget.currency",
            f"the budget is in {profile.budget.currency}, but the prices in {prices.path} are in "
            f"{prices.currency}",
            "the same currency for both",
            "Run `tfhub-blocks cost refresh --currency "
            f"{profile.budget.currency}`, or set budget.currency to {prices.currency}",
        )


def refuse_above_budget(
    graph: Graph, profile: Profile, runs_per_month: int | None = None
) -> Ceiling | None:
    """Return the ceiling of a graph that stays within its budget; None without a budget.

    Raises:
        BlocksError: The graph could cost more than the budget, or its highest cost is unknown.
    """
    if profile.budget is None:
        return None
    prices = load_prices()
    for finding in budget_findings(graph, profile, prices, runs_per_month):
        raise finding.error(profile)
    return ceiling(graph, profile, prices)


def month_findings(
    scheduled: Sequence[tuple[str, Ceiling, int]], profile: Profile, balancers: float = 0.0
) -> Iterator[BudgetFinding]:
    """Yield the monthly budget if schedules could exceed it together.

    Args:
        scheduled: The name of each schedule, the ceiling of one run, and its runs in a month.
        profile: The profile of all schedules.
        balancers: The cost of a month of all load balancers of the profile's clusters, which exist
            between runs too.
    """
    budget = profile.budget
    if budget is None or budget.month is None:
        return
    # The month counts the load balancers once, and not for each run again.
    costs = [
        (name, runs * ((most.total or 0.0) - most.of_balancers), runs)
        for name, most, runs in scheduled
    ]
    together = sum(cost for _, cost, _ in costs) + balancers
    if together > budget.month:
        costs.sort(key=lambda item: -item[1])
        largest = ", ".join(
            f"{name} {money(cost)} in {runs} runs" for name, cost, runs in costs[:3]
        )
        if balancers:
            largest += f", load balancers {money(balancers)}"
        yield BudgetFinding(
            "budget.month",
            tuple(name for name, _, _ in costs),
            f"all schedules together may cost {money(together)} {budget.currency} in a month"
            f" ({largest})",
            f"at most {money(budget.month)}",
            "Let schedules fire less often, lower timeout_s, use smaller machine sizes, or raise"
            " budget.month",
        )


def month_of_balancers(profile: Profile, prices: Prices) -> float:
    """Return the cost of 31 days of the load balancers of a profile's clusters; 0 if unknown."""
    total = 0.0
    for cluster in profile.clusters.values():
        region = prices.region_prices(cluster.location)
        total += (region.balancers_per_day(cluster.max_nodes) or 0.0) if region else 0.0
    return 31 * total


def _findings(
    most: Ceiling, profile: Profile, runs_per_month: int | None
) -> Iterator[BudgetFinding]:
    budget, cost = profile.budget, most.total
    if budget is None:
        return
    if cost is None:
        unknown = tuple(name for name, terms in most.steps.items() if terms.price_per_hour is None)
        problem = f"the highest cost of a run is unknown: {', '.join(unknown)} have no price"
        yield BudgetFinding(
            "budget", unknown, problem, "a price for each step", "Run `tfhub-blocks cost refresh`"
        )
        return
    dearest = most.dearest()
    nodes = tuple(name for name, _ in dearest)
    largest = "; ".join(_step_cost(name, terms) for name, terms in dearest)
    ways = "lower timeout_s of these steps, use smaller machine sizes, or raise"
    rarer = f"Run the pipeline less often, {ways}"
    if budget.run is not None and cost > budget.run:
        yield BudgetFinding(
            "budget.run",
            nodes,
            f"a run may cost {money(cost)} {most.currency} (highest: {largest})",
            f"at most {money(budget.run)} {budget.currency}",
            f"{ways.capitalize()} budget.run",
        )
    # A pipeline without a schedule runs at least once.
    runs = max(runs_per_month or 1, 1)
    month = cost * runs
    if budget.month is not None and month > budget.month:
        often = "a run" if runs == 1 else f"{runs} runs a month"
        yield BudgetFinding(
            "budget.month",
            nodes,
            f"{often} may cost {money(month)} {most.currency} (highest: {largest})",
            f"at most {money(budget.month)} {budget.currency} in a month",
            f"{rarer} budget.month" if runs > 1 else f"{ways.capitalize()} budget.month",
        )


def _step_cost(name: str, terms: Terms) -> str:
    attempts = f", {terms.attempts} times" if terms.attempts > 1 else ""
    return f"{name} {money(terms.ceiling or 0.0)} ({terms.timeout_s} s on {terms.place}{attempts})"
