"""The cost of an online endpoint until its end date, checked against the budget beforehand."""

# decisions 47, 84 and 88

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tfhub_blocks.control.costs.ceilings import START_ALLOWANCE_S, low_priority_attempts
from tfhub_blocks.control.costs.cost_budgets import check_currency
from tfhub_blocks.control.costs.prices import Prices, money
from tfhub_blocks.control.deployments.end_dates import End
from tfhub_blocks.control.deployments.endpoints import Endpoint
from tfhub_blocks.control.project.profiles import OPERATIONS, Profile
from tfhub_blocks.control.project.run_terms import total
from tfhub_blocks.control.project.triggers import make_trigger
from tfhub_blocks.records.base.errors import BlocksError

_HOUR_S = 3600.0
# A cron expression of Azure ML names weekdays, so it fires within a week.
_LONGEST_WAIT = timedelta(days=8)


@dataclass(frozen=True)
class EndpointCost:
    """The highest possible cost of an endpoint: its hours, at the hourly price of all deployments.

    ``hours`` counts until the endpoint is deleted: to its end date, and from there to the end of
    the next run of the schedule that reaps. ``late`` are those after the end date; 0 if the profile
    sets no such schedule. ``beside`` is the cost of the profile's other online endpoints until they
    are deleted, and ``most`` is the budget of all of them.
    """

    hours: float
    price_per_hour: float
    beside: float
    most: float
    currency: str
    late: float = 0.0

    @property
    def total(self) -> float:
        """The cost of this endpoint from now until it is deleted."""
        return self.hours * self.price_per_hour

    @property
    def unbounded(self) -> tuple[str, ...]:
        """What Azure bills beside the total, which no limit of the endpoint bounds, in words."""
        ends = (
            "a night on which Azure ML starts no job that reaps"
            if self.late
            else "hours after the end date, until `tfhub-blocks deploy reap` deletes the endpoint"
        )
        return (ends, "traffic, logs, and the storage of models and images")


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
    beside = total(_cost_to_come(it, profile, now) for it in same)
    if beside is None:
        raise BlocksError(
            "budget",
            f"{profile.name} > budget.endpoints",
            "the cost of the existing endpoints until their end dates is unknown",
            "a price for each machine size, and a readable end date",
            "Run `tfhub-blocks deploy list` to find the endpoint, and `tfhub-blocks cost refresh`"
            " if a price is missing",
        )
    late = late_hours(profile, end)
    hours = end.hours(now) + late
    cost = EndpointCost(hours, price_per_hour, beside, budget.endpoints, budget.currency, late)
    if cost.total + beside > budget.endpoints:
        more = f", and the other endpoints {money(beside)} until theirs" if beside else ""
        raise BlocksError(
            "budget",
            f"{profile.name} > budget.endpoints",
            f"the endpoint costs {money(cost.total)} {budget.currency} until it is deleted after "
            f"{end} ({cost.hours:,.0f} hours at {money(price_per_hour)}){more}",
            f"at most {money(budget.endpoints)} together",
            "Pass an earlier --until or fewer --instances, delete another endpoint, or raise"
            " budget.endpoints",
        )
    return cost


def late_hours(profile: Profile, end: End) -> float:
    """Return for how long an endpoint lives after its end date, in hours.

    That is until the schedule in the profile fires, and its step has started and worked for its
    limit in each attempt; 0 if the profile sets no schedule.
    """
    cron, role = profile.deployments.reap, profile.roles.get(OPERATIONS)
    if cron is None or role is None:
        return 0.0
    times = make_trigger(str(profile.path), "UTC", cron, None).times(
        # The end itself counts as a time after the last second of the day.
        end.time - timedelta(seconds=1),
        end.time + _LONGEST_WAIT,
    )
    first = next(times, end.time + _LONGEST_WAIT)
    cluster = profile.clusters.get(role.compute)
    attempts = low_priority_attempts(profile.budget) if cluster and cluster.low_priority else 1
    work_s = (START_ALLOWANCE_S + role.timeout_s) * attempts
    return ((first - end.time).total_seconds() + work_s) / _HOUR_S


def _cost_to_come(endpoint: Endpoint, profile: Profile, now: datetime) -> float | None:
    """Return the cost of an existing endpoint until it is deleted; None if it is unknown."""
    cost, price, end = endpoint.cost_to_come(now), endpoint.price_per_hour, endpoint.end
    if cost is None or price is None or end is None:
        return None
    return cost + price * late_hours(profile, end)
