"""The roles that the identities of workspace, clusters and endpoints need, and those they have."""

# decision 86

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tfhub_blocks.control.doctor.checkup import Subject
from tfhub_blocks.control.workspace.azure_roles import (
    PULL_IMAGES,
    PUSH_IMAGES,
    READ_BLOBS,
    READ_SECRETS,
    WRITE_BLOBS,
    grant_command,
)
from tfhub_blocks.records.base.errors import BlocksError

AUTHORIZATION_API = "2022-04-01"


@dataclass(frozen=True)
class Grant:
    """A role that an identity needs on a resource.

    ``principal`` is empty if the thing has no identity; ``without`` is then the instruction.
    ``by_policy`` is True if an access policy of the vault grants the same.
    """

    who: str
    principal: str
    role: str
    place: str
    scope: str
    actions: tuple[str, ...]
    is_data: bool = False
    by_policy: bool = False
    without: str = ""


def workspace_grants(subject: Subject) -> Iterator[Grant]:
    """Yield the grants of the workspace's own identity: storage, registry, key vault."""
    identity = subject.workspace.get("identity") or {}
    principal, who = str(identity.get("principalId") or ""), "workspace"
    if not principal:  # a user-assigned identity: Azure checks its roles when it is attached
        return
    yield _blobs(subject, who, principal, "Storage Blob Data Contributor", WRITE_BLOBS)
    yield from _images(subject, who, principal, "AcrPush", PUSH_IMAGES)
    vault = subject.vault["properties"]
    policies = [] if vault.get("enableRbacAuthorization") else vault.get("accessPolicies") or []
    may_read = any(
        it.get("objectId") == principal
        and {"get", "all"}
        & {str(p).lower() for p in (it.get("permissions") or {}).get("secrets", [])}
        for it in policies
    )
    yield Grant(
        who,
        principal,
        "Key Vault Secrets User",
        "the key vault",
        str(subject.properties["keyVault"]),
        READ_SECRETS,
        is_data=True,
        by_policy=may_read,
    )


def cluster_grants(subject: Subject, name: str, cluster: Any) -> Iterator[Grant]:
    """Yield the grants of a cluster's identity; none if keys and the registry's admin suffice."""
    identity = getattr(cluster, "identity", None)
    principal, who = str(getattr(identity, "principal_id", None) or ""), f"cluster {name}"
    job = subject.profile.job
    if not subject.has_keys or (job is not None and job.identity == "managed"):
        yield _blobs(subject, who, principal, "Storage Blob Data Contributor", WRITE_BLOBS)
    yield from _images(subject, who, principal, "AcrPull", PULL_IMAGES)


def identity_lines(subject: Subject, name: str) -> Iterator[str]:
    """Yield a cluster's identity, and the command for each grant that its steps need.

    The grants are not compared with those that exist: that takes permissions that are not needed to
    create a cluster. ``doctor`` compares them.
    """
    try:
        cluster = subject.clusters[name]
        identity = getattr(cluster, "identity", None)
        principal = str(getattr(identity, "principal_id", None) or "")
        yield f"identity {principal or 'none'}"
        grants = list(cluster_grants(subject, name, cluster))
    except BlocksError as error:
        yield f"its grants are unknown: {error.problem}. Run tfhub-blocks doctor"
        return
    if not grants:
        yield "its steps need no grant: the datastores have keys"
    for grant in grants:
        yield f"needs {grant.role} on {grant.place}"
        if principal:
            yield f"  {grant_command(grant.role, principal, grant.scope)}"


def endpoint_grants(subject: Subject, endpoint: Any) -> Iterator[Grant]:
    """Yield the grants of an online endpoint's identity: its model and its image."""
    identity = getattr(endpoint, "identity", None)
    principal, who = str(getattr(identity, "principal_id", None) or ""), f"endpoint {endpoint.name}"
    if not principal:
        return
    yield _blobs(subject, who, principal, "Storage Blob Data Reader", READ_BLOBS)
    if subject.registry is not None:
        yield _image_grant(subject, who, principal, "AcrPull", PULL_IMAGES)


def role_permissions(subject: Subject, principal: str, scope: str) -> list[Mapping[str, Any]]:
    """Return the permissions of an identity on a resource, from its role assignments.

    Raises:
        BlocksError: Azure refused the request.
    """
    query = {"$filter": f"atScope() and assignedTo('{principal}')"}
    path = f"{scope}/providers/Microsoft.Authorization/roleAssignments"
    assigned = subject.items(path, AUTHORIZATION_API, "role assignments", **query)
    roles = dict.fromkeys(str(it["properties"]["roleDefinitionId"]) for it in assigned)
    found: list[Mapping[str, Any]] = []
    for role in roles:
        definition = subject.read(role, AUTHORIZATION_API, "role definition")
        found += definition["properties"]["permissions"]
    return found


def _blobs(
    subject: Subject, who: str, principal: str, role: str, actions: tuple[str, ...]
) -> Grant:
    scope, name = str(subject.properties["storageAccount"]), subject.profile.name
    without = f'clusters of profile {name}: set identity = "system", then run compute apply'
    place = f"storage account {scope.rpartition('/')[2]}"
    return Grant(who, principal, role, place, scope, actions, is_data=True, without=without)


def _images(
    subject: Subject, who: str, principal: str, role: str, actions: tuple[str, ...]
) -> Iterator[Grant]:
    registry = subject.registry
    if registry is not None and not registry["properties"].get("adminUserEnabled"):
        yield _image_grant(subject, who, principal, role, actions)


def _image_grant(
    subject: Subject, who: str, principal: str, role: str, actions: tuple[str, ...]
) -> Grant:
    scope = str(subject.properties["containerRegistry"])
    place = f"container registry {scope.rpartition('/')[2]}"
    without = "az acr update --admin-enabled true --name " + scope.rpartition("/")[2]
    return Grant(who, principal, role, place, scope, actions, without=without)
