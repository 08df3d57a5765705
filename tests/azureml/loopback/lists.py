"""Lists as Azure gives them: what a query leaves, in pages."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from loopback.answers import Answer

# How many resources a page has; Azure's pages differ by kind.
PAGE = 10


def selected(found: list[dict[str, Any]], query: Mapping[str, str]) -> list[dict[str, Any]]:
    """What a list's query leaves."""
    view = query.get("listViewType", "ActiveOnly")
    if view in ("ActiveOnly", "ArchivedOnly"):
        wanted = view == "ArchivedOnly"
        found = [r for r in found if bool(r["properties"].get("isArchived")) == wanted]
    if "isDefault" in query:
        wanted = query["isDefault"].lower() == "true"
        found = [r for r in found if r["properties"]["isDefault"] == wanted]
    if "tag" in query or "tags" in query:
        name, _, value = (query.get("tag") or query["tags"]).partition("=")
        found = [r for r in found if (r["properties"].get("tags") or {}).get(name) == value]
    return found[: int(query["$top"])] if "$top" in query else found


def selected_jobs(
    found: list[dict[str, Any]], query: Mapping[str, str], fired: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The jobs that a schedule, or any schedule, fired: so clients learn of past firings.

    ``fired`` is the schedule of each job that has one.
    """
    if "scheduleId" in query:
        found = [job for job in found if fired.get(job["name"]) == query["scheduleId"]]
    if "scheduled" in query:
        wanted = query["scheduled"].lower() == "true"
        found = [job for job in found if (job["name"] in fired) == wanted]
    return found


def page(path: str, found: list[dict[str, Any]], query: Mapping[str, str]) -> Answer:
    """One page of a list, with the address of the next one if there is more."""
    start = int(query.get("$skip", 0))
    body: dict[str, Any] = {"value": found[start : start + PAGE]}
    if len(found) > start + PAGE:
        rest = urlencode({**query, "$skip": start + PAGE})
        body["nextLink"] = f"https://management.azure.com{path}?{rest}"
    return Answer(200, body)
