"""The cost of an online endpoint until its end date, checked against the budget beforehand."""

# decisions 47 and 84

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tfhub_blocks.control.costs.cost_budgets import check_currency, money
from tfhub_blocks.control.costs.prices import Prices
from tfhub_blocks.control.deployments.end_dates import End
from tfhub_blocks.control.deployments.endpoints import Endpoint
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_terms import total
from tfhub_blocks.records.base.errors import BlocksError


@dataclass(frozen=True)
class EndpointCost:
    """The highest possible cost of an endpoint: its hours, at the hourly price of all deployments.

    ``beside`` is the cost of the profile's other online endpoints until their end dates, and
    ``most`` is the budget of all of them.
    """

    hours: float
    price_per_hour: float
    beside: float
    most: float
    currency: str

    @property
    def total(self) -> float:
        """The cost of this endpoint from now to its end date."""
        return self.hours * self.price_per_hour


def check_cost(
    profile: Profile,
    prices: Prices,
    end: End,
    now: datetime,
    price_per_hour: float,
    others: Sequence[Endpoint],
) -> EndpointCost:
    """Return the highest possible cost of an endpoint, within the budget of its profile.

    Args:
        profile: The profile with the budget.
        prices: The source of the hourly price.
        end: The end date of this endpoint.
        now: The start.
        price_per_hour: The price of all deployments of this endpoint.
        others: The other online endpoints of the workspace.

    Raises:
        BlocksError: The profile's endpoints cost more than the budget together, the profile sets no
            budget for endpoints, or a price is unknown.
    """
    budget = profile.budget
    if budget is None or budget.endpoints is None:
        raise BlocksError(
            "budget",
            f"{profile.name} > budget.endpoints",
            f"profile {profile.name} sets no budget.endpoints, and an online endpoint costs money"
            " even when idle",
            "the highest total cost of this profile's online endpoints until their end dates",
            f"Set endpoints in [budget] of {profile.path}",
        )
    check_currency(profile, prices)
    same = [it for it in others if it.is_ours and it.profile == profile.name]
    for other in same:
        if other.end is not None and other.end.hours(now) <= 0:
            # Azure bills an endpoint until it is deleted, whatever its tag states.
            raise BlocksError(
                "budget",
                f"{profile.name} > budget.endpoints",
                f"endpoint {other.name} ended on {other.end} and still costs money, so no limit"
                " bounds the cost of all endpoints",
                "",
                "Run `tfhub-blocks deploy reap`, which deletes each endpoint past its end date",
            )
    beside = total(it.cost_to_come(now) for it in same)
    if beside is None:
        raise BlocksError(
            "budget",
            f"{profile.name} > budget.endpoints",
            "the cost of the existing endpoints until their end dates is unknown",
            "a price for each machine size, and a readable end date",
            "Run `tfhub-blocks deploy list` to find the endpoint, and `tfhub-blocks cost refresh`"
            " if a price is missing",
        )
    cost = EndpointCost(end.hours(now), price_per_hour, beside, budget.endpoints, budget.currency)
    if cost.total + beside > budget.endpoints:
        more = f", and the other endpoints {money(beside)} until theirs" if beside else ""
        raise BlocksError(
            "budget",
            f"{profile.name} > budget.endpoints",
            f"the endpoint costs {money(cost.total)} {budget.currency} until {end} "
            f"({cost.hours:,.0f} hours at {money(price_per_hour)}){more}",
            f"at most {money(budget.endpoints)} together",
            "Pass an earlier --until or fewer --instances, delete another endpoint, or raise"
            " budget.endpoints",
        )
    return cost
