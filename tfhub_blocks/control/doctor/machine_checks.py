"""Checks of machine sizes: whether the region has them, and quota for them.

Clusters and online endpoints take different sizes: Azure's list of sizes names AmlCompute for
clusters and MIR for managed online endpoints.
"""

# decision 86

import re
from collections.abc import Iterator, Mapping
from functools import cache
from math import ceil
from typing import Any

from tfhub_blocks.control.doctor.checkup import MISSING, OK, WORKSPACE_API, Row, Subject
from tfhub_blocks.control.workspace.azure_roles import SERVICE
from tfhub_blocks.control.workspace.online_sizes import is_online_size, nearest_online_size
from tfhub_blocks.records.base.errors import nearest

_Item = Mapping[str, Any]
CLUSTERS, ENDPOINTS = "AmlCompute", "MIR"
# learn.microsoft.com/azure/machine-learning/how-to-manage-quotas: an endpoint's upgrade takes a
# fifth more machines, except with these sizes.
_UPGRADES = 1.2
_NO_UPGRADES = re.compile(r"(?i)standard_(nc\d+ads_a100_v4|nd96a\w+|nd40rs_v2)")


def check_machines(subject: Subject) -> Iterator[Row]:
    """Yield for each machine of the profile its availability, and the quota for its nodes."""
    # Not by the SDK: its objects of sizes in azure-ai-ml 1.35 contain neither cores nor kinds.
    root = f"/subscriptions/{subject.client.subscription_id}/providers/{SERVICE}/locations"
    place = f"{root}/{subject.location}"
    sizes = subject.items(f"{place}/vmSizes", WORKSPACE_API, f"machine sizes in {subject.location}")
    usages = subject.items(f"{place}/usages", WORKSPACE_API, f"quota in {subject.location}")
    known = {str(it["name"]).casefold(): it for it in sizes}
    for key, size, nodes, low_priority in subject.machines:
        found = known.get(size.casefold())
        yield _availability(subject, key, size, found, low_priority, sizes)
        if found is not None:
            yield from _quota(subject, f"{key} {size}", found, nodes, low_priority, usages)
    for size in dict.fromkeys(size for _, size, _, _ in subject.machines):
        found = known.get(size.casefold())
        yield from _online(subject, size, found, usages)


def _availability(
    subject: Subject,
    key: str,
    size: str,
    found: _Item | None,
    low_priority: bool,
    sizes: list[_Item],
) -> Row:
    needed, region = f"{size} for clusters in {subject.location}", subject.location
    if found is None:
        near = nearest(size, [str(it["name"]) for it in sizes if CLUSTERS in _kinds(it)])
        fix = f"az ml compute list-sizes --location {region} ; edit {key}.size in {_file(subject)}"
        text = f"not offered in {region}. {near}".strip()
        return Row("sizes", key, text, needed, MISSING, fix)
    if CLUSTERS not in _kinds(found):
        fix = f"Edit {key}.size in {_file(subject)}"
        return Row("sizes", key, f"only for {', '.join(_kinds(found))}", needed, MISSING, fix)
    if low_priority and not found.get("lowPriorityCapable"):
        fix = f"Set {key}.low_priority = false in {_file(subject)}"
        return Row("sizes", key, "dedicated only", f"{size}, low priority", MISSING, fix)
    return Row("sizes", key, size, needed, OK)


def _kinds(size: _Item) -> list[str]:
    return list(size.get("supportedComputeTypes") or ())


def _quota(
    subject: Subject, item: str, size: _Item, nodes: int, low_priority: bool, usages: list[_Item]
) -> Iterator[Row]:
    """Yield the quota of the size's family, and that of the region."""
    wanted, tier = nodes * int(size["vCPUs"]), "LowPriority" if low_priority else "Dedicated"
    family = f"{_folded(size['family'])}cluster{_folded(tier)}"
    regional = _folded(f"Total Cluster {tier} Regional vCPUs")
    for what, prefix in (("family", family), ("region", regional)):
        usage = _usage(usages, prefix)
        # -1: this tier has no limit of its own for the family.
        if usage is None or int(usage["limit"]) < 0:
            continue
        yield _quota_row(subject, "quota", f"{item}, {what}", usage, wanted)


def _usage(usages: list[_Item], prefix: str) -> _Item | None:
    """Return the usage of the whole subscription whose name begins so."""
    for usage in usages:
        is_whole = "/workspaces/" not in str(usage["id"])
        if is_whole and _folded(str(usage["name"]["value"])).startswith(prefix):
            return usage
    return None


def _quota_row(subject: Subject, check: str, item: str, usage: _Item, wanted: int) -> Row:
    limit, used = int(usage["limit"]), int(usage["currentValue"])
    fix = "Request more at portal.azure.com > Quotas > Machine learning, or lower max_nodes"
    enough = limit >= wanted
    return Row(
        check,
        item,
        f"{limit} vCPUs, {used} in use",
        f"{wanted} vCPUs: {usage['name']['value']}",
        OK if enough else MISSING,
        "" if enough else f"{fix} in {_file(subject)}",
    )


def _online(subject: Subject, size: str, found: _Item | None, usages: list[_Item]) -> Iterator[Row]:
    """Yield whether endpoints run on a size, if the profile has a budget for endpoints."""
    budget = subject.profile.budget
    if budget is None or budget.endpoints is None:
        return
    needed = f"{size} for online endpoints in {subject.location}"
    if found is None or ENDPOINTS not in _kinds(found) or not is_online_size(size):
        fix = "Measure with check_latency on another size. " + nearest_online_size(size)
        yield Row("endpoint sizes", size, "not offered for endpoints", needed, MISSING, fix.strip())
        return
    yield Row("endpoint sizes", size, "offered for endpoints", needed, OK)
    machines = 1 if _NO_UPGRADES.fullmatch(size) else ceil(_UPGRADES)
    usage = _usage(usages, f"{_folded(found['family'])}clusterdedicated")
    if usage is not None:
        wanted = machines * int(found["vCPUs"])
        item = f"{size}, one machine with its upgrade" if machines > 1 else f"{size}, one machine"
        yield _quota_row(subject, "endpoint quota", item, usage, wanted)


@cache
def _folded(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold())


def _file(subject: Subject) -> str:
    return f"pipelines/profiles/{subject.profile.name}.toml"
