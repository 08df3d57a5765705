"""Checks of a release lock against the assets of a workspace, before anything is sent."""

# decisions 31, 35 and 52

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tfhub_blocks.control.project.assets import DIGEST_TAG
from tfhub_blocks.control.workspace.azure_errors import find
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.releases import LockedEncoder, ReleaseLock

_ENVIRONMENT_ID = re.compile(r"/environments/([^/]+)/versions/([^/]+)$")
_PUBLISH = {
    "environment": "`tfhub-blocks publish`",
    "model": "`tfhub-blocks publish --encoder DIR`",
    "data": "`tfhub-blocks publish --data NAME=PATH`",
    "component": "`tfhub-blocks publish`",
}


def check_assets(
    connection: Connection, lock: ReleaseLock, steps: Mapping[str, Any], prefix: str = ""
) -> None:
    """Check that the workspace has every version in a lock, with exactly the locked content.

    A tag proves nothing by itself, because anyone can write one: an environment must be built from
    the upload under its digest, and a component must have the local code, command and environment.

    Args:
        connection: The workspace.
        lock: The release.
        steps: The local components by name, which were checked against the lock before.
        prefix: The prefix of the names of published steps.

    Raises:
        BlocksError: A version is missing or differs; the message lists all of these.
    """
    problems, remedy = [], ""
    for kind, name, version, digest in _named(lock):
        published = f"{prefix}{name}" if kind == "component" else name
        found = _find(connection, "submit", kind, published, version)
        if problem := _problem(connection, kind, found, digest, steps.get(name)):
            problems.append(f"{kind} {published}:{version} {problem}")
            is_model = (kind, name) in {("model", it.name) for it in _models(lock)}
            remedy = remedy or ("`tfhub-blocks promote`" if is_model else _PUBLISH[kind])
    if problems:
        raise BlocksError(
            "submit",
            f"release {lock.name}",
            f"workspace {connection.name} differs from the lock: {'; '.join(problems)}",
            "each version with the digest in the lock",
            f"Publish missing versions with {remedy}. Open different versions in Studio to see who"
            " published them",
        )


def _problem(connection: Connection, kind: str, found: Any, digest: str, here: Any) -> str:
    """Return how a version in the workspace differs from the lock; empty if the two agree."""
    if found is None:
        return "does not exist"
    stated = (found.tags or {}).get(DIGEST_TAG)
    if stated is None:
        return f"has no tag {DIGEST_TAG}, so its content is unknown"
    if stated != digest:
        return "has different content"
    if kind == "environment" and (found.build is None or f"/{digest}/" not in found.build.path):
        source = found.image or (found.build and found.build.path)
        return f"is built from {source}, not from the content published under its digest"
    if kind == "component":
        return step_problem(connection, found, here)
    return ""


def step_problem(connection: Connection, found: Any, here: Any) -> str:
    """Return how a step of a workspace differs from the local component; empty if the two agree."""
    for what, there, wanted in (
        ("command", found.command.split(), here.command.split()),
        ("environment", _short(found.environment), _short(here.environment)),
        ("is_deterministic", found.is_deterministic, here.is_deterministic),
    ):
        if there != wanted:
            shown = " ".join(there) if isinstance(there, list) else there
            return f"has another {what}: {shown}"
    with here._build_code() as built:
        wanted = built._hash_sha256
    name, _, version = str(found.code).partition("/codes/")[2].partition("/versions/")
    code = find("submit", f"code {name}", connection.client._code.get, name, version)
    if code is None or (code.properties or {}).get("hash_sha256") != wanted:
        return "has different code"
    return ""


def _short(reference: Any) -> str:
    """Return an environment as NAME:VERSION, from that form or from its full id."""
    match = _ENVIRONMENT_ID.search(str(reference))
    return ":".join(match.groups()) if match else str(reference).removeprefix("azureml:")


def asset_tags(
    connection: Connection, where: str, kind: str, name: str, version: str
) -> Mapping[str, str] | None:
    """Return the tags of a version of an asset; None if the version does not exist.

    Raises:
        BlocksError: The workspace did not answer.
    """
    found = _find(connection, where, kind, name, version)
    return None if found is None else dict(found.tags or {})


def _find(connection: Connection, where: str, kind: str, name: str, version: str) -> Any:
    client = connection.client
    operations: Mapping[str, Any] = {
        "environment": client.environments,
        "model": client.models,
        "data": client.data,
        "component": client.components,
    }
    return find(where, f"{kind} {name}:{version}", operations[kind].get, name, version)


def published_tags(connection: Connection, kind: str, name: str, version: str) -> Mapping[str, str]:
    """Return the tags of a version that a lock is to record.

    Raises:
        BlocksError: The version does not exist, or its content is unknown.
    """
    tags = asset_tags(connection, "lock", kind, name, version)
    if tags is None or DIGEST_TAG not in tags:
        state = "does not exist" if tags is None else f"has no tag {DIGEST_TAG}"
        raise BlocksError(
            "lock",
            f"{kind} {name}:{version}",
            f"{kind} {name}:{version} {state} in workspace {connection.name}",
            "a version that tfhub-blocks published, so that its content is known",
            f"Run {_PUBLISH[kind]}",
        )
    return tags


def _models(lock: ReleaseLock) -> list[LockedEncoder]:
    """Return the complete models in a lock, without encoders."""
    return [it for it in lock.encoder.values() if it.type == "mlflow_model"]


def _named(lock: ReleaseLock) -> Iterator[tuple[str, str, str, str]]:
    for name, environment in lock.environments.items():
        yield "environment", name, environment.version, environment.digest
    for encoder in lock.encoder.values():
        yield "model", encoder.name, encoder.version, encoder.digest
    for data in lock.data.values():
        yield "data", data.name, data.version, data.digest
    for name, component in lock.components.items():
        yield "component", name, component.version, component.digest
