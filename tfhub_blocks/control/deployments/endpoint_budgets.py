"""What an online endpoint costs until its end, held against the budget before anything is made."""

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
    """The most that an endpoint costs: so many hours, at the price of an hour of everything in it.

    ``beside`` is what the profile's other online endpoints cost until their ends, ``most`` the
    budget of all of them.
    """

    hours: float
    price_per_hour: float
    beside: float
    most: float
    currency: str

    @property
    def total(self) -> float:
        """Of this one, from now to its end."""
        return self.hours * self.price_per_hour


def check_cost(
    profile: Profile,
    prices: Prices,
    end: End,
    now: datetime,
    price_per_hour: float,
    others: Sequence[Endpoint],
) -> EndpointCost:
    """What an endpoint costs at most, with all others of its profile within their budget.

    Args:
        profile: With the budget.
        prices: That the prices of an hour are from.
        end: The end of this one.
        now: When it begins.
        price_per_hour: Of all that is in this one.
        others: The other online endpoints of the workspace.

    Raises:
        BlocksError: It costs more, there is no budget for endpoints, or something has no price.
    """
    budget = profile.budget
    if budget is None or budget.endpoints is None:
        raise BlocksError(
            "budget",
            f"{profile.name} > budget.endpoints",
            "it is not said, and an online endpoint is paid for while it idles",
            "what the online endpoints of this profile may cost together until their ends",
            "add it to [budget]",
        )
    check_currency(profile, prices)
    beside = total(
        it.cost_to_come(now) for it in others if it.is_ours and it.profile == profile.name
    )
    if beside is None:
        raise BlocksError(
            "budget",
            f"{profile.name} > budget.endpoints",
            "nobody knows what the endpoints that are there cost until their ends",
            "a price of each size, and an end date that can be read",
            "tfhub-blocks deploy list, and tfhub-blocks cost refresh",
        )
    cost = EndpointCost(end.hours(now), price_per_hour, beside, budget.endpoints, budget.currency)
    if cost.total + beside > budget.endpoints:
        more = f", and the others {money(beside)} until theirs" if beside else ""
        raise BlocksError(
            "budget",
            f"{profile.name} > budget.endpoints",
            f"it costs {money(cost.total)} {budget.currency} until {end} "
            f"({cost.hours:,.0f} hours at {money(price_per_hour)}){more}",
            f"at most {money(budget.endpoints)} together",
            "let it end earlier, take fewer instances, end another, or raise the budget",
        )
    return cost
