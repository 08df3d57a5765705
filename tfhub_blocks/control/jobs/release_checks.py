"""What a release lock names, held against what a workspace has, before anything is sent."""

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
    "environment": "tfhub-blocks publish",
    "model": "tfhub-blocks publish --encoder DIR",
    "data": "tfhub-blocks publish --data NAME=PATH",
    "component": "tfhub-blocks publish",
}


def check_assets(connection: Connection, lock: ReleaseLock, steps: Mapping[str, Any]) -> None:
    """See that every version which a lock names is there with the very content that it states.

    A tag is only what somebody wrote: an environment has to be built of what lies under its digest,
    and a step to be the code, the command and the environment that are here.

    Args:
        connection: The workspace.
        lock: The release.
        steps: The components as they are here, by name; the lock was held against them.

    Raises:
        BlocksError: One is not, or not so; all of them are told.
    """
    problems, remedy = [], ""
    for kind, name, version, digest in _named(lock):
        found = _find(connection, "submit", kind, name, version)
        if problem := _problem(connection, kind, found, digest, steps.get(name)):
            problems.append(f"{kind} {name}:{version} {problem}")
            is_model = (kind, name) in {("model", it.name) for it in _models(lock)}
            remedy = remedy or ("tfhub-blocks promote" if is_model else _PUBLISH[kind])
    if problems:
        raise BlocksError(
            "submit",
            f"release {lock.name}",
            f"workspace {connection.name} has not what is locked: {'; '.join(problems)}",
            "each version with the digest that the lock states",
            f"publish what is missing ({remedy}), and see who published what differs",
        )


def _problem(connection: Connection, kind: str, found: Any, digest: str, here: Any) -> str:
    """In what a version there is not what is locked, or nothing."""
    if found is None:
        return "is not there"
    stated = (found.tags or {}).get(DIGEST_TAG)
    if stated is None:
        return f"is there without the tag {DIGEST_TAG}, so nobody knows what it holds"
    if stated != digest:
        return "is there with other content"
    if kind == "environment" and (found.build is None or f"/{digest}/" not in found.build.path):
        made_of = found.image or (found.build and found.build.path)
        return f"is made of {made_of}, and not of what was published under its digest"
    if kind == "component":
        return step_problem(connection, found, here)
    return ""


def step_problem(connection: Connection, found: Any, here: Any) -> str:
    """In what a step of a workspace is not the component that is here, or nothing."""
    for what, there, wanted in (
        ("command", found.command.split(), here.command.split()),
        ("environment", _short(found.environment), _short(here.environment)),
        ("is_deterministic", found.is_deterministic, here.is_deterministic),
    ):
        if there != wanted:
            shown = " ".join(there) if isinstance(there, list) else there
            return f"is there with another {what}: {shown}"
    with here._build_code() as built:
        wanted = built._hash_sha256
    name, _, version = str(found.code).partition("/codes/")[2].partition("/versions/")
    code = find("submit", f"code {name}", connection.client._code.get, name, version)
    if code is None or (code.properties or {}).get("hash_sha256") != wanted:
        return "is there with other code"
    return ""


def _short(reference: Any) -> str:
    """An environment as NAME:VERSION, whether it is named so or by its whole id."""
    match = _ENVIRONMENT_ID.search(str(reference))
    return ":".join(match.groups()) if match else str(reference).removeprefix("azureml:")


def asset_tags(
    connection: Connection, where: str, kind: str, name: str, version: str
) -> Mapping[str, str] | None:
    """The tags of a version of an asset; None if it is not there.

    Raises:
        BlocksError: The workspace could not be asked.
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
    """The tags of a version that a lock is to name.

    Raises:
        BlocksError: It is not there, or its content is not known.
    """
    tags = asset_tags(connection, "lock", kind, name, version)
    if tags is None or DIGEST_TAG not in tags:
        state = "is not there" if tags is None else f"has no tag {DIGEST_TAG}"
        raise BlocksError(
            "lock",
            f"{kind} {name}:{version}",
            f"it {state} in workspace {connection.name}",
            "a version that tfhub-blocks published, whose content is known",
            _PUBLISH[kind],
        )
    return tags


def _models(lock: ReleaseLock) -> list[LockedEncoder]:
    """What is a whole model, and no encoder."""
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
