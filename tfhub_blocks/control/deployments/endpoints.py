"""The endpoints of a workspace: owner, end date, deployments, and cost."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from tfhub_blocks.control.costs.prices import Prices
from tfhub_blocks.control.deployments.end_dates import End, end_of
from tfhub_blocks.control.project.run_terms import total
from tfhub_blocks.control.project.tags import PROFILE_TAG, TAG, UNTIL_TAG
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError

Kind = Literal["online", "batch"]
WHAT_TAG = f"{TAG}what"
_HOUR_S = 3600.0


@dataclass(frozen=True)
class Deployment:
    """One deployment of an endpoint.

    ``what`` is the name of the model or the pipeline. ``price_per_hour`` is the price of all its
    instances; None if the price is unknown, and 0 for batch endpoints, which are billed per job.
    ``state`` is Azure's provisioning state. A failed deployment is billed like any other.
    """

    name: str
    what: str
    size: str
    instances: int
    traffic: int
    made: datetime
    price_per_hour: float | None
    state: str = ""

    @property
    def is_failed(self) -> bool:
        """True if Azure could not bring the deployment up, and no request is sent to it."""
        return self.state == "Failed" and not self.traffic

    def cost_so_far(self, now: datetime) -> float | None:
        """Return the cost since the creation, as if the number of instances had never changed."""
        if self.price_per_hour is None:
            return None
        return self.price_per_hour * (now - self.made).total_seconds() / _HOUR_S


@dataclass(frozen=True)
class Endpoint:
    """An endpoint with its deployments, the oldest first; ``end`` is None without an end date."""

    kind: Kind
    name: str
    owner: str
    cost_centre: str
    profile: str
    tags: Mapping[str, str]
    state: str
    made: datetime | None
    end: End | None
    deployments: tuple[Deployment, ...]

    @property
    def is_ours(self) -> bool:
        """True if the endpoint has the tag by which tfhub-blocks creates and deletes endpoints."""
        return UNTIL_TAG in self.tags

    @property
    def price_per_hour(self) -> float | None:
        """The price of all deployments, including those without traffic."""
        return total(it.price_per_hour for it in self.deployments)

    def cost_so_far(self, now: datetime) -> float | None:
        """Return the cost of the current deployments so far; None if a price is unknown."""
        return total(it.cost_so_far(now) for it in self.deployments)

    def cost_to_come(self, now: datetime) -> float | None:
        """Return the cost from now to the end date; None without an end date or a price."""
        price = self.price_per_hour
        return None if price is None or self.end is None else price * self.end.hours(now)


def read_endpoints(
    connection: Connection, prices: Prices | None, kinds: tuple[Kind, ...] = ("online", "batch")
) -> Iterator[Endpoint]:
    """Yield every endpoint of a workspace by name, including third-party endpoints.

    Without prices, every price is unknown.

    Raises:
        BlocksError: Azure refused a request.
    """
    for kind in kinds:
        of_kind, _ = operations(connection, kind)
        with told("deploy list", f"{kind} endpoints"):
            found = sorted(of_kind.list(), key=lambda it: str(it.name))
        for it in found:
            yield _endpoint(connection, kind, it, prices)


def operations(connection: Connection, kind: Kind) -> tuple[Any, Any]:
    """Return the SDK's operations on endpoints of a kind, and on their deployments."""
    client = connection.client
    if kind == "online":
        return client.online_endpoints, client.online_deployments
    return client.batch_endpoints, client.batch_deployments


def _endpoint(connection: Connection, kind: Kind, it: Any, prices: Prices | None) -> Endpoint:
    _, of_deployments = operations(connection, kind)
    with told("deploy list", it.name):
        deployments = list(of_deployments.list(it.name))
    traffic = _traffic(kind, it)
    read = [_deployment(kind, each, it, traffic, prices) for each in deployments]
    made = _time((it.properties or {}).get("createdAt"))
    tags = {str(key): str(value) for key, value in (it.tags or {}).items()}
    return Endpoint(
        kind=kind,
        name=it.name,
        owner=tags.get("owner", ""),
        cost_centre=tags.get("cost_centre", ""),
        profile=tags.get(PROFILE_TAG, ""),
        tags=tags,
        state=state_of(it),
        made=made or min((each.made for each in read), default=None),
        end=end_of(tags),
        deployments=tuple(sorted(read, key=lambda each: (each.made, each.name))),
    )


def _traffic(kind: Kind, endpoint: Any) -> Mapping[str, int]:
    if kind == "online":
        return endpoint.traffic or {}
    default = getattr(endpoint.defaults, "deployment_name", None)
    return {default: 100} if default else {}


def _deployment(
    kind: Kind, it: Any, endpoint: Any, traffic: Mapping[str, int], prices: Prices | None
) -> Deployment:
    size, count = ("", 0) if kind == "batch" else (str(it.instance_type), int(it.instance_count))
    tags = it.tags or {}
    return Deployment(
        name=it.name,
        what=str(tags.get(WHAT_TAG) or _short_id(it.model)),
        size=size,
        instances=count,
        traffic=int(traffic.get(it.name, 0)),
        made=_time(getattr(it.creation_context, "created_at", None)) or datetime.now(UTC),
        price_per_hour=0.0 if kind == "batch" else price_of(prices, size, count, endpoint.location),
        state=state_of(it),
    )


def state_of(it: Any) -> str:
    """Return Azure's provisioning state, such as ``Succeeded``; empty without one."""
    return str(getattr(it.provisioning_state, "value", it.provisioning_state) or "")


def price_of(prices: Prices | None, size: str, instances: int, region: str) -> float | None:
    """Return the hourly price of a number of instances; None if the size has no price."""
    if prices is None:
        return None
    try:
        return instances * prices.price_per_hour(size, "dedicated", region)
    except BlocksError:
        return None


def _short_id(model: Any) -> str:
    head, versions, version = str(model or "").rpartition("/versions/")
    return f"{head.rpartition('/')[2]}:{version}" if versions else str(model or "")


def _time(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    return value if isinstance(value, datetime) else None
