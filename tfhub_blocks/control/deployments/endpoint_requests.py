"""Requests for online endpoints, and their cost until the end date."""

from dataclasses import dataclass
from datetime import datetime

from tfhub_blocks.control.costs.prices import load_prices
from tfhub_blocks.control.deployments.candidates import WHERE, DeploymentCandidate
from tfhub_blocks.control.deployments.end_dates import End
from tfhub_blocks.control.deployments.endpoint_budgets import EndpointCost, check_cost
from tfhub_blocks.control.deployments.endpoints import read_endpoints
from tfhub_blocks.control.deployments.replayed_requests import ReplayedRequest
from tfhub_blocks.control.jobs.submission import refuse_locks_only
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.online_sizes import (
    DAY,
    SOURCE,
    is_online_size,
    nearest_online_size,
)
from tfhub_blocks.records.base.errors import BlocksError

_NAME_DIGITS = 11


@dataclass(frozen=True)
class OnlineRequest:
    """A request to deploy a model on a number of machines behind an endpoint, until its end date.

    ``traffic`` is the deployment's share in percent. None means all traffic if no other deployment
    has any, and otherwise no change. With ``replayed`` requests the traffic moves in checked steps
    to the share, or to 100.
    """

    endpoint: str
    candidate: DeploymentCandidate
    profile: Profile
    end: End
    size: str
    instances: int
    traffic: int | None = None
    replayed: tuple[ReplayedRequest, ...] = ()

    @property
    def deployment(self) -> str:
        """The name of the deployment: the same model is one deployment of an endpoint."""
        return f"m{self.candidate.digest[:_NAME_DIGITS]}"


def choose_size(candidate: DeploymentCandidate, given: str | None) -> str:
    """Return the machine size of a deployment: the size on which the model was measured.

    Raises:
        BlocksError: The user requested another size, or online endpoints do not offer the size.
    """
    if given is not None and given.casefold() != candidate.size.casefold():
        raise BlocksError(
            WHERE,
            f"--instance-type {given}",
            f"{candidate.label} was measured on {candidate.size}, not on {given}",
            "",
            f"Leave out --instance-type, or run check_latency on {given} and register the model"
            " again",
        )
    if not is_online_size(candidate.size):
        raise BlocksError(
            WHERE,
            candidate.size,
            f"{candidate.label} was measured on {candidate.size}, which managed online endpoints do"
            f" not offer ({SOURCE}, {DAY})",
            "a size that clusters and online endpoints share, such as Standard_DS3_v2",
            f"{nearest_online_size(candidate.size)} Run check_latency on such a size, and register"
            " the model again".strip(),
        )
    return candidate.size


def online_cost(connection: Connection, request: OnlineRequest, now: datetime) -> EndpointCost:
    """Return the highest possible cost of the endpoint with all its deployments, within the budget.

    Raises:
        BlocksError: The cost exceeds the budget, a price is unknown, or the workspace accepts only
            release locks.
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
        for other in endpoint.deployments:  # those without traffic cost money too
            if other.name != request.deployment:
                # A missing price raises an error that names the size.
                size = prices.price_per_hour(other.size, "dedicated", region)
                price += other.instances * size
    others = [it for it in there if it.name != request.endpoint]
    return check_cost(profile, prices, request.end, now, price, others)
