"""Everything in a workspace that costs money or is shared, each with its owner."""

# decision 88

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from tfhub_blocks.control.costs.cost_tables import justified
from tfhub_blocks.control.costs.prices import Prices, RegionPrices, money
from tfhub_blocks.control.deployments.endpoint_tables import end_text
from tfhub_blocks.control.deployments.endpoints import Endpoint, price_of, read_endpoints
from tfhub_blocks.control.project.job_furnishing import PIPELINE_TAG
from tfhub_blocks.control.project.tags import REAP_STEP, TAG
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.owners import owner_of

WHERE = "owners"
_HOURS = 24.0
# Azure's own environments, which are in every workspace.
_CURATED = "azureml"
# The size of the copy that a registered model stores, which register_model writes.
STORED_TAG = f"{TAG}stored_bytes"
_NO_OWNER = "no tag owner"


@dataclass(frozen=True)
class OwnedThing:
    """One thing of a workspace: its owner, and what it costs in a day while nobody uses it.

    ``per_day`` is None if a price is unknown. ``findings`` state what is wrong with it.
    """

    kind: str
    name: str
    owner: str
    cost_centre: str
    detail: str
    per_day: float | None
    findings: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the thing, JSON-ready."""
        return asdict(self)


def owned_things(
    connection: Connection, prices: Prices, now: datetime, with_assets: bool = False
) -> Iterator[OwnedThing]:
    """Yield each compute, endpoint, schedule and environment of a workspace, by kind and name.

    Args:
        connection: The workspace.
        prices: The prices of machines and load balancers.
        now: The time at which end dates are compared.
        with_assets: True to yield data and models too, which takes a request for each name.

    Raises:
        BlocksError: Azure refused a request.
    """
    client = connection.client
    with told(WHERE, connection.name):
        region = client.workspaces.get(connection.name).location
    yield from _by_name(_compute(it, prices) for it in _listed("compute", client.compute.list))
    schedules = _listed("schedules", client.schedules.list)
    reaps = any(
        it.is_enabled and (it.tags or {}).get(PIPELINE_TAG) == REAP_STEP for it in schedules
    )
    for endpoint in read_endpoints(connection, prices):
        yield _endpoint(endpoint, now, reaps)
    yield from _by_name(_schedule(it) for it in schedules)
    kinds = {"environment": client.environments}
    if with_assets:
        kinds |= {"data": client.data, "model": client.models}
    for kind, operations in kinds.items():
        for container in sorted(_listed(kind, operations.list), key=lambda it: str(it.name)):
            if not str(container.name).lower().startswith(_CURATED):
                yield _asset(kind, str(container.name), operations, prices.region_prices(region))


def owner_lines(things: Iterable[OwnedThing], currency: str) -> Iterator[str]:
    """Yield the lines of the table, and then the findings."""
    found = list(things)
    rows = [["kind", "name", "owner", "what", "a day"]]
    for it in found:
        who = f"{it.owner} ({it.cost_centre})" if it.owner and it.cost_centre else it.owner or "-"
        per_day = "?" if it.per_day is None else money(it.per_day) if it.per_day else ""
        rows.append([it.kind, it.name, who, it.detail, per_day])
    known = sum(it.per_day or 0.0 for it in found)
    rows.append(["", "", "", f"while nothing runs, in {currency}", money(known)])
    yield from justified(rows, left=(0, 1, 2, 3))
    for it in found:
        for finding in it.findings:
            yield f"finding: {it.kind} {it.name}: {finding}"


def _listed(what: str, listing: Any) -> list[Any]:
    with told(WHERE, what):
        return list(listing())


def _by_name(things: Iterable[OwnedThing]) -> list[OwnedThing]:
    return sorted(things, key=lambda it: (it.kind, it.name))


def _findings(owner: str, *others: str) -> tuple[str, ...]:
    return tuple(text for text in ("" if owner else _NO_OWNER, *others) if text)


def _compute(it: Any, prices: Prices) -> OwnedThing:
    owner, centre = owner_of(it.tags), str((it.tags or {}).get("cost_centre", ""))
    size, region = str(getattr(it, "size", "") or ""), str(it.location or "")
    if str(it.type).lower() != "amlcompute":
        hourly = price_of(prices, size, 1, region) if size else None
        per_day = None if hourly is None else hourly * _HOURS
        problem = "a machine that costs money until a user stops it"
        kind = str(it.type).lower()
        return OwnedThing(kind, it.name, owner, centre, size, per_day, _findings(owner, problem))
    least, most = int(it.min_instances or 0), int(it.max_instances or 0)
    found = prices.region_prices(region)
    balancers = found.balancers_per_day(most) if found else None
    nodes = price_of(prices, size, least, region) if least else 0.0
    per_day = None if balancers is None or nodes is None else balancers + nodes * _HOURS
    problem = f"{least} nodes run while no step does" if least else ""
    detail = f"{least} to {most} x {size}"
    return OwnedThing("cluster", it.name, owner, centre, detail, per_day, _findings(owner, problem))


def _endpoint(it: Endpoint, now: datetime, reaps: bool) -> OwnedThing:
    is_online, price = it.kind == "online", it.price_per_hour
    failed = [each.name for each in it.deployments if each.is_failed]
    problems = [
        "no end date" if it.end is None else "",
        f"past its end date {it.end}" if it.end is not None and it.end.is_past(now) else "",
        f"failed deployment {', '.join(failed)} is billed" if failed and is_online else "",
        "no schedule deletes it after its end date"
        if is_online and it.is_ours and not reaps
        else "",
    ]
    return OwnedThing(
        f"{it.kind} endpoint",
        it.name,
        owner_of(it.tags),
        it.cost_centre,
        f"{_counted(len(it.deployments), 'deployment')}, {end_text(it, now).partition(':')[0]}",
        None if price is None else price * _HOURS,
        _findings(owner_of(it.tags), *problems),
    )


def _schedule(it: Any) -> OwnedThing:
    tags = it.tags or {}
    owner, what = owner_of(tags), str(tags.get(PIPELINE_TAG, "a job"))
    detail = what if it.is_enabled else f"{what}, paused"
    centre = str(tags.get("cost_centre", ""))
    return OwnedThing("schedule", str(it.name), owner, centre, detail, 0.0, _findings(owner))


def _asset(kind: str, name: str, operations: Any, prices: RegionPrices | None) -> OwnedThing:
    """Return an asset with the owner of its newest version, and a finding for mixed owners.

    Registered models state the size of the copy that each version stores.
    """
    with told(WHERE, f"{kind} {name}"):
        versions = list(operations.list(name))
    newest_first = sorted(versions, key=_made, reverse=True)
    owners = [owner_of(it.tags) for it in newest_first]
    owner = owners[0] if owners else ""
    named = sorted(set(owners) - {""})
    mixed = f"its versions have the owners {', '.join(named)}" if len(named) > 1 else ""
    detail = _counted(len(versions), "version")
    stored = sum(int((it.tags or {}).get(STORED_TAG) or 0) for it in versions)
    per_day: float | None = 0.0
    if stored:
        detail += f", {stored / 1e6:,.1f} MB"
        per_day = prices.storage_per_day(stored) if prices else None
    return OwnedThing(kind, name, owner, "", detail, per_day, _findings(owner, mixed))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _made(version: Any) -> str:
    return str(getattr(version.creation_context, "created_at", ""))
