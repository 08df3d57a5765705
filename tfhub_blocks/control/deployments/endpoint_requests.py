"""What is asked of an online endpoint, and what that costs until its end."""

from dataclasses import dataclass
from datetime import datetime

from tfhub_blocks.control.costs.prices import load_prices
from tfhub_blocks.control.deployments.candidates import WHERE, DeploymentCandidate
from tfhub_blocks.control.deployments.end_dates import End
from tfhub_blocks.control.deployments.endpoint_budgets import EndpointCost, check_cost
from tfhub_blocks.control.deployments.endpoints import read_endpoints
from tfhub_blocks.control.jobs.submission import refuse_locks_only
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError

_NAME_DIGITS = 11


@dataclass(frozen=True)
class OnlineRequest:
    """What is asked for: a model on so many machines, behind an endpoint, until its end.

    ``traffic`` is its share in percent; None is all of it where no other deployment has any, and
    else nothing yet.
    """

    endpoint: str
    candidate: DeploymentCandidate
    profile: Profile
    end: End
    size: str
    instances: int
    traffic: int | None = None

    @property
    def deployment(self) -> str:
        """The name of the deployment: the same model is one deployment of an endpoint."""
        return f"m{self.candidate.digest[:_NAME_DIGITS]}"


def choose_size(candidate: DeploymentCandidate, given: str | None) -> str:
    """The machine of a deployment: the one that the model was measured on.

    Raises:
        BlocksError: Another one is asked for.
    """
    if given is not None and given.casefold() != candidate.size.casefold():
        raise BlocksError(
            WHERE,
            f"--instance-type {given}",
            f"{candidate.label} was measured on {candidate.size}",
            "the machine that its latency was measured on",
            f"leave it out, or run check_latency on {given}",
        )
    return candidate.size


def online_cost(connection: Connection, request: OnlineRequest, now: datetime) -> EndpointCost:
    """What the endpoint costs at most until its end, with all that is in it, within the budget.

    Raises:
        BlocksError: That is too much, or nobody knows; or the workspace takes releases alone.
    """
    prices, profile = load_prices(), request.profile
    if profile.takes != "locks":
        refuse_locks_only(connection, profile)
    with told(WHERE, connection.name):
        region = connection.client.workspaces.get(connection.name).location
    price = request.instances * prices.price_per_hour(request.size, "dedicated", region)
    there = list(read_endpoints(connection, prices, ("online",)))
    for endpoint in there:
        if endpoint.name != request.endpoint:
            continue
        for other in endpoint.deployments:  # those without traffic are paid for as well
            if other.name != request.deployment:
                # What has no price is told by name.
                size = prices.price_per_hour(other.size, "dedicated", region)
                price += other.instances * size
    others = [it for it in there if it.name != request.endpoint]
    return check_cost(profile, prices, request.end, now, price, others)
