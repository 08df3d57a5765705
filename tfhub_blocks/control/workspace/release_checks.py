"""What a release lock names, held against what a workspace has, before anything is sent."""

from collections.abc import Iterator, Mapping
from typing import Any

from tfhub_blocks.control.workspace.assets import DIGEST_TAG
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.failures import find
from tfhub_blocks.records.errors import BlocksError
from tfhub_blocks.records.releases import ReleaseLock

_PUBLISH = {
    "environment": "tfhub-blocks publish",
    "model": "tfhub-blocks publish --encoder DIR",
    "data": "tfhub-blocks publish --data NAME=PATH",
    "component": "tfhub-blocks publish",
}


def check_assets(connection: Connection, lock: ReleaseLock) -> None:
    """See that every version which a lock names is there with the very content that it states.

    Raises:
        BlocksError: One is not, or not so; all of them are told.
    """
    problems, remedy = [], ""
    for kind, name, version, digest in _named(lock):
        tags = asset_tags(connection, "submit", kind, name, version)
        found = None if tags is None else tags.get(DIGEST_TAG)
        if found != digest:
            state = "is not there" if tags is None else "is there with other content"
            if tags is not None and found is None:
                state = f"is there without the tag {DIGEST_TAG}, so nobody knows what it holds"
            problems.append(f"{kind} {name}:{version} {state}")
            remedy = remedy or _PUBLISH[kind]
    if problems:
        raise BlocksError(
            "submit",
            f"release {lock.name}",
            f"workspace {connection.name} has not what is locked: {'; '.join(problems)}",
            "each version with the digest that the lock states",
            f"publish what is missing ({remedy}), and see who published what differs",
        )


def asset_tags(
    connection: Connection, where: str, kind: str, name: str, version: str
) -> Mapping[str, str] | None:
    """The tags of a version of an asset; None if it is not there.

    Raises:
        BlocksError: The workspace could not be asked.
    """
    client = connection.client
    operations: Mapping[str, Any] = {
        "environment": client.environments,
        "model": client.models,
        "data": client.data,
        "component": client.components,
    }
    found = find(where, f"{kind} {name}:{version}", operations[kind].get, name, version)
    return None if found is None else dict(found.tags or {})


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


def _named(lock: ReleaseLock) -> Iterator[tuple[str, str, str, str]]:
    for name, environment in lock.environments.items():
        yield "environment", name, environment.version, environment.digest
    for encoder in lock.encoder.values():
        yield "model", encoder.name, encoder.version, encoder.digest
    for data in lock.data.values():
        yield "data", data.name, data.version, data.digest
    for name, component in lock.components.items():
        yield "component", name, component.version, component.digest
