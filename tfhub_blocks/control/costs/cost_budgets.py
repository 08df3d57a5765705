"""Budgets: what stops a run, or a schedule, before anything is sent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tfhub_blocks.control.costs.ceilings import Ceiling, ceiling
from tfhub_blocks.control.costs.prices import Prices, load_prices
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_terms import Terms
from tfhub_blocks.control.project.step_graph import Graph
from tfhub_blocks.records.base.errors import BlocksError


@dataclass(frozen=True)
class BudgetFinding:
    """A budget that a ceiling does not keep; ``key`` is the profile's, ``nodes`` the dearest."""

    key: str
    nodes: tuple[str, ...]
    problem: str
    expected: str
    remedy: str

    def error(self, profile: Profile) -> BlocksError:
        """As the error that stops a command."""
        what = f"{profile.name} > {self.key}"
        return BlocksError("budget", what, self.problem, self.expected, self.remedy)


def budget_findings(
    graph: Graph, profile: Profile, prices: Prices | None = None, runs_per_month: int | None = None
) -> list[BudgetFinding]:
    """What of a profile's budget a graph could go beyond; nothing where there is no budget.

    Args:
        graph: The steps.
        profile: Its roles, clusters and budget.
        prices: What machines cost; else those that count here, if there is a budget.
        runs_per_month: How often it runs, to be held against the budget of a month; else once.

    Raises:
        BlocksError: Something has no price, or the budget is in another currency than prices are.
    """
    if profile.budget is None or profile.engine == "local":
        return []
    prices = prices or load_prices()
    check_currency(profile, prices)
    return list(_findings(ceiling(graph, profile, prices), profile, runs_per_month))


def check_currency(profile: Profile, prices: Prices) -> None:
    """See that a budget is in the currency of the prices.

    Raises:
        BlocksError: It is in another one.
    """
    if profile.budget and profile.budget.currency != prices.currency:
        raise BlocksError(
            "profile",
            f"{profile.name} > budget.currency",
            f"it is {profile.budget.currency}, and the prices in {prices.path} are in "
            f"{prices.currency}",
            "one currency",
            "correct it, or get prices in it: tfhub-blocks cost refresh --currency "
            f"{profile.budget.currency}",
        )


def refuse_above_budget(
    graph: Graph, profile: Profile, runs_per_month: int | None = None
) -> Ceiling | None:
    """The ceiling of a graph that keeps its budget; None where there is no budget.

    Raises:
        BlocksError: It could cost more, or what it could cost is not known.
    """
    if profile.budget is None:
        return None
    prices = load_prices()
    for finding in budget_findings(graph, profile, prices, runs_per_month):
        raise finding.error(profile)
    return ceiling(graph, profile, prices)


def month_findings(
    scheduled: Sequence[tuple[str, Ceiling, int]], profile: Profile
) -> Iterator[BudgetFinding]:
    """What schedules could cost together beyond the budget of a month.

    Args:
        scheduled: Of each schedule its name, the ceiling of one run, and its runs in a month.
        profile: The profile of all of them.
    """
    budget = profile.budget
    if budget is None or budget.month is None:
        return
    costs = [(name, runs * (most.total or 0.0), runs) for name, most, runs in scheduled]
    together = sum(cost for _, cost, _ in costs)
    if together > budget.month:
        costs.sort(key=lambda item: -item[1])
        told = ", ".join(f"{name} {money(cost)} in {runs} runs" for name, cost, runs in costs[:3])
        yield BudgetFinding(
            "budget.month",
            tuple(name for name, _, _ in costs),
            f"what is scheduled may cost {money(together)} {budget.currency} in a month ({told})",
            f"at most {money(budget.month)}",
            "let it fire less often, lower timeout_s, take smaller sizes, or raise the budget",
        )


def _findings(
    most: Ceiling, profile: Profile, runs_per_month: int | None
) -> Iterator[BudgetFinding]:
    budget, cost = profile.budget, most.total
    if budget is None:
        return
    if cost is None:
        unknown = tuple(name for name, terms in most.steps.items() if terms.price_per_hour is None)
        problem = f"nobody knows what a run may cost: {', '.join(unknown)} have no price"
        yield BudgetFinding(
            "budget", unknown, problem, "a price of each", "tfhub-blocks cost refresh"
        )
        return
    dearest = most.dearest()
    nodes = tuple(name for name, _ in dearest)
    told = "; ".join(_told(name, terms) for name, terms in dearest)
    remedy = "lower timeout_s of these, take a smaller size, or raise the budget"
    if budget.run is not None and cost > budget.run:
        yield BudgetFinding(
            "budget.run",
            nodes,
            f"a run may cost {money(cost)} {most.currency}; dearest: {told}",
            f"at most {money(budget.run)} {budget.currency}",
            remedy,
        )
    # What does not run by itself runs once, at least.
    runs = max(runs_per_month or 1, 1)
    month = cost * runs
    if budget.month is not None and month > budget.month:
        often = "a run" if runs == 1 else f"{runs} runs a month"
        yield BudgetFinding(
            "budget.month",
            nodes,
            f"{often} may cost {money(month)} {most.currency}; dearest: {told}",
            f"at most {money(budget.month)} {budget.currency} in a month",
            f"let it run less often, {remedy}" if runs > 1 else remedy,
        )


def _told(name: str, terms: Terms) -> str:
    attempts = f", {terms.attempts} times" if terms.attempts > 1 else ""
    return f"{name} {money(terms.ceiling or 0.0)} ({terms.timeout_s} s on {terms.place}{attempts})"


def money(amount: float) -> str:
    """An amount as people read it: two digits after the point, more for what is less than 1."""
    if 0 < amount < 0.00005:
        return "<0.0001"
    return f"{amount:,.2f}" if amount >= 1 or amount == 0 else f"{amount:.4f}"
