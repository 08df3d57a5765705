"""Clusters whose nodes exist only while a step runs."""

from typing import Any

from azure.ai.ml.entities import AmlCompute, IdentityConfiguration

from tfhub_blocks.control.project.clusters import would_stay_up
from tfhub_blocks.control.project.profiles import Cluster, Profile
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.owners import check_owner, owner_in
from tfhub_blocks.control.workspace.patience import again_on_conflict
from tfhub_blocks.records.base.errors import BlocksError

_TIERS = {True: "low_priority", False: "dedicated"}


def apply(connection: Connection, profile: Profile, name: str) -> str:
    """Create or update a cluster as a profile defines it: "created", "changed" or "up to date".

    Raises:
        BlocksError: The settings would keep unused nodes running; the cluster belongs to another
            owner; another resource has the cluster's name; the size or priority would have to
            change, which Azure does not support; or Azure refused the request.
    """
    cluster = profile.clusters[name]
    for key, problem, expected in would_stay_up(cluster):
        raise BlocksError(
            "compute apply",
            f"{profile.name} > clusters.{name}.{key}",
            problem,
            f"{expected}, so that unused nodes cost nothing",
            f"Edit clusters.{name}.{key} in {profile.path}",
        )
    client, what = connection.client, f"{name} ({cluster.size})"
    found = find("compute apply", what, client.compute.get, name)
    check_owner("compute apply", f"cluster {name}", found, owner_in(profile))
    if found is not None:
        check_fixed("compute apply", name, cluster, found)
        if _scale(found) == (0, cluster.max_nodes, cluster.idle_s):
            return "up to date"
    with told("compute apply", what):
        entity = _entity(name, cluster, profile)
        again_on_conflict(lambda: client.compute.begin_create_or_update(entity).result())
    return "created" if found is None else "changed"


def _entity(name: str, cluster: Cluster, profile: Profile) -> Any:
    job, identity = profile.job, None
    if cluster.identity == "system":
        identity = IdentityConfiguration(type="system_assigned")
    return AmlCompute(
        name=name,
        size=cluster.size,
        min_instances=0,
        max_instances=cluster.max_nodes,
        idle_time_before_scale_down=cluster.idle_s,
        tier=_TIERS[cluster.low_priority],
        location=cluster.location,
        ssh_public_access_enabled=False,
        identity=identity,
        tags={"owner": job.owner, "cost_centre": job.cost_centre} if job else {},
    )


def check_fixed(where: str, name: str, cluster: Cluster, found: Any) -> None:
    """Check that a cluster agrees with the profile in the properties that Azure never changes.

    Args:
        where: The command, for messages.
        name: The cluster's name.
        cluster: The cluster in the profile.
        found: The cluster in the workspace.

    Raises:
        BlocksError: The resource is not a cluster, or its size, priority or SSH access differs.
    """
    if found.type.lower() != "amlcompute":
        raise BlocksError(
            where,
            name,
            f"{name} is a {found.type} in the workspace",
            "a cluster, whose nodes end when no step runs",
            f"Rename clusters.{name} in the profile, and the roles that use it",
        )
    wanted = {
        "size": cluster.size.lower(),
        "priority": _TIERS[cluster.low_priority],
        "ssh": "closed",
    }
    actual = {
        "size": (found.size or "").lower(),
        "priority": str(found.tier or "dedicated").lower().replace("lowpriority", "low_priority"),
        "ssh": "open" if found.ssh_public_access_enabled else "closed",
    }
    for key, value in wanted.items():
        if actual[key] != value:
            raise BlocksError(
                where,
                name,
                f"{key} of cluster {name} is {actual[key]}, which Azure cannot change",
                value,
                f"Run `az ml compute delete --name {name}` and `tfhub-blocks compute apply`, or"
                f" rename clusters.{name} in the profile",
            )


def _scale(found: Any) -> tuple[int, int, int]:
    return (
        int(found.min_instances or 0),
        int(found.max_instances or 0),
        int(found.idle_time_before_scale_down or 0),
    )
