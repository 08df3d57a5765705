"""Endpoints as text tables and as JSON records."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from tfhub_blocks.control.costs.prices import money
from tfhub_blocks.control.deployments.endpoints import Deployment, Endpoint

_UNKNOWN = "?"


def endpoint_lines(it: Endpoint, currency: str, now: datetime) -> Iterator[str]:
    """Yield the lines of an endpoint: its deployments and its cost."""
    who = f"{it.owner} ({it.cost_centre})" if it.cost_centre else it.owner or "no owner"
    state = "" if it.state in ("Succeeded", "") else f", {it.state}"
    yield f"{it.name}  {it.kind}, {who}, {age(it, now)}, {end_text(it, now)}{state}"
    for deployment in it.deployments:
        yield f"  {deployment.name:<12}  {_deployment(it, deployment)}".rstrip()
    if not it.deployments:
        yield "  nothing is deployed to it"
    elif it.kind == "online":
        yield f"  {_cost_text(it, currency, now)}"


def _deployment(endpoint: Endpoint, it: Deployment) -> str:
    if endpoint.kind == "batch":
        return f"{it.what}{'' if it.traffic else ', not the default'}, billed per job"
    price = _amount(it.price_per_hour)
    return f"{it.traffic:>3} %  {it.what}  {it.instances} x {it.size}, {price} an hour"


def _cost_text(it: Endpoint, currency: str, now: datetime) -> str:
    so_far = f"{_amount(it.cost_so_far(now))} {currency} so far"
    if it.end is None:
        return f"{so_far}, no end date"
    if it.end.is_past(now):
        return f"{so_far}, {_amount(it.price_per_hour)} more each hour"
    return f"{so_far}, {_amount(it.cost_to_come(now))} more until its end date"


def age(it: Endpoint, now: datetime) -> str:
    """Return the age of an endpoint, in words."""
    return f"{_span(now - it.made)} old" if it.made else "of unknown age"


def end_text(it: Endpoint, now: datetime) -> str:
    """Return the end date of an endpoint in words, or a warning without one."""
    if it.end is None:
        return "UNREADABLE END DATE" if it.is_ours else "NO END DATE"
    if it.end.is_past(now):
        return f"PAST ITS END DATE {it.end}: run `tfhub-blocks deploy reap`"
    return f"until {it.end}, {_span(it.end.time - now)} left"


def endpoint_record(it: Endpoint, currency: str, now: datetime) -> dict[str, Any]:
    """Return an endpoint, its deployments and its cost, JSON-ready."""
    return {
        "name": it.name,
        "kind": it.kind,
        "owner": it.owner,
        "cost_centre": it.cost_centre,
        "profile": it.profile,
        "state": it.state,
        "is_ours": it.is_ours,
        "made": it.made.isoformat() if it.made else None,
        "until": str(it.end) if it.end else None,
        "is_past": bool(it.end and it.end.is_past(now)),
        "hours_left": it.end.hours(now) if it.end else None,
        "currency": currency,
        "price_per_hour": it.price_per_hour,
        "cost_so_far": it.cost_so_far(now),
        "cost_to_come": it.cost_to_come(now),
        "deployments": [
            {
                "name": each.name,
                "what": each.what,
                "size": each.size,
                "instances": each.instances,
                "traffic": each.traffic,
                "made": each.made.isoformat(),
                "price_per_hour": each.price_per_hour,
                "cost_so_far": each.cost_so_far(now),
            }
            for each in it.deployments
        ],
    }


def _span(span: timedelta) -> str:
    hours = max(int(span.total_seconds() // 3600), 0)
    count, unit = (hours // 24, "day") if hours >= 48 else (hours, "hour")
    return f"{count} {unit}{'' if count == 1 else 's'}"


def _amount(amount: float | None) -> str:
    return _UNKNOWN if amount is None else money(amount)
