"""Checks of the login, of the caller's permissions, and of the roles of identities."""

# decision 86

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tfhub_blocks.control.doctor.checkup import MISSING, OK, WHERE, Row, State, Subject
from tfhub_blocks.control.doctor.identity_grants import (
    AUTHORIZATION_API,
    Grant,
    cluster_grants,
    endpoint_grants,
    role_permissions,
    workspace_grants,
)
from tfhub_blocks.control.project.profiles import SERVERLESS
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.azure_roles import (
    grant_command,
    missing_actions,
    roles_for,
)


def check_login(subject: Subject) -> Iterator[Row]:
    """Yield the login with its tenant, which has to be the workspace's."""
    login = subject.login
    wanted = str(subject.properties.get("tenantId") or "")
    name = login.names[0] if login.names else "a token without a name"
    is_right = not wanted or not login.tenant or login.tenant == wanted
    fix = "" if is_right else f"az login --tenant {wanted}"
    found = f"{name}, tenant {login.tenant or 'unknown'}"
    yield Row("login", "tenant", found, f"tenant {wanted or 'unknown'}", _state(is_right), fix)


def check_permissions(subject: Subject) -> Iterator[Row]:
    """Yield for each command the number of its actions, and the actions that the caller lacks."""
    scope = subject.workspace_id
    storage = str(subject.properties["storageAccount"])
    caller = _permissions(subject, scope)
    on_blobs = [] if subject.has_keys else _permissions(subject, storage)
    for needs in subject.needs:
        missing = missing_actions(caller, needs.full_actions)
        blobs = () if subject.has_keys else needs.blob_actions
        lacking = missing_actions(on_blobs, blobs, is_data=True)
        roles = [(role, scope) for role in roles_for(missing)]
        roles += [(role, storage) for role in roles_for(lacking, is_data=True)]
        count = len(needs.actions) + len(blobs)
        found = f"{count - len(missing) - len(lacking)} of {count} actions"
        if missing or lacking:
            found += f", not {', '.join(map(_short, (*missing, *lacking)))}"
        fix = " ; ".join(grant_command(role, subject.assignee, at) for role, at in roles)
        state = _state(not missing and not lacking)
        yield Row("permissions", needs.command, found, f"{count} actions", state, fix)


def _permissions(subject: Subject, scope: str) -> list[Mapping[str, Any]]:
    path = f"{scope}/providers/Microsoft.Authorization/permissions"
    return subject.items(path, AUTHORIZATION_API, "permissions")


def _short(action: str) -> str:
    return action.removeprefix("Microsoft.MachineLearningServices/workspaces/")


def check_identities(subject: Subject) -> Iterator[Row]:
    """Yield the grants of the identities of workspace, clusters and endpoints."""
    yield from _rows(subject, workspace_grants(subject))
    for name, cluster in subject.clusters.items():
        apply = f"tfhub-blocks compute apply --profile {subject.profile.name}"
        if cluster is None:
            yield Row("clusters", name, "no such cluster", "the profile's cluster", MISSING, apply)
            continue
        yield Row("clusters", name, "exists", "the profile's cluster", OK)
        yield from _rows(subject, cluster_grants(subject, name, cluster))
    yield from _serverless(subject)
    with told(WHERE, "online endpoints"):
        endpoints = list(subject.client.online_endpoints.list())
    for endpoint in endpoints:
        yield from _rows(subject, endpoint_grants(subject, endpoint))


def _serverless(subject: Subject) -> Iterator[Row]:
    """Yield the identity of steps on serverless compute, which has none of its own."""
    profile = subject.profile
    is_used = any(role.compute == SERVERLESS for role in profile.roles.values())
    if not is_used or profile.job is None or profile.job.identity != "managed":
        return
    client, needed = profile.job.client_id, "client_id of a managed identity"
    fix = "" if client else "az identity list --query [].clientId"
    yield Row("identities", SERVERLESS, client or "no client_id", needed, _state(bool(client)), fix)


def _rows(subject: Subject, grants: Iterable[Grant]) -> Iterator[Row]:
    for grant in grants:
        if not grant.principal:
            yield Row("identities", grant.who, "no identity", grant.role, MISSING, grant.without)
            continue
        held = role_permissions(subject, grant.principal, grant.scope)
        missing = missing_actions(held, grant.actions, grant.is_data)
        if missing and grant.by_policy:
            missing = []
        found = "granted" if not missing else f"not {', '.join(missing)}"
        fix = grant_command(grant.role, grant.principal, grant.scope) if missing else ""
        needed = f"{grant.role} on {grant.place}"
        yield Row("identities", grant.who, found, needed, _state(not missing), fix)


def _state(is_right: bool) -> State:
    return OK if is_right else MISSING
