"""The tag of a withdrawal on models of a workspace, so that each machine can see it."""

# decision 65

from collections.abc import Callable, Collection, Iterator
from typing import Any

from tfhub_blocks.control.project.tags import TAG
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.formats.withdrawals import TAG as WITHDRAWN

_WHERE = "withdraw"
_DIGEST_TAGS = ("model_digest", "encoder_digest", "snapshot_digest")


def tag_models(connection: Connection, digests: Collection[str], withdrawal: str) -> Iterator[str]:
    """Set the tag on each version that has one of some digests, and yield its name and version.

    Args:
        connection: The workspace or the registry.
        digests: Digests of models, encoders and snapshots.
        withdrawal: The digest of the withdrawal.

    Raises:
        BlocksError: Azure refused a request.
    """
    key = f"{TAG}{WITHDRAWN}"
    for name, it in _versions(connection):
        tags = it.tags or {}
        if {tags.get(f"{TAG}{each}", "") for each in _DIGEST_TAGS} & set(digests):
            if tags.get(key) != withdrawal:
                _change(connection, name, it.version, lambda old: {**old, key: withdrawal})
            yield f"{name}:{it.version}"


def untag_models(connection: Connection, withdrawals: Collection[str]) -> Iterator[str]:
    """Remove the tag of some withdrawals, and yield the name and version of each changed model.

    Args:
        connection: The workspace or the registry.
        withdrawals: The digests of the withdrawals that have ended.

    Raises:
        BlocksError: Azure refused a request.
    """
    key = f"{TAG}{WITHDRAWN}"
    for name, it in _versions(connection):
        if (it.tags or {}).get(key) in withdrawals:
            _change(
                connection,
                name,
                it.version,
                lambda old: {tag: value for tag, value in old.items() if tag != key},
            )
            yield f"{name}:{it.version}"


def _versions(connection: Connection) -> Iterator[tuple[str, Any]]:
    """Yield each version of each model, with the model's name."""
    models = connection.client.models

    def versions(name: str) -> list[Any]:
        return list(models.list(name, list_view_type="ActiveOnly"))

    with told(_WHERE, "models"):
        names = sorted({str(it.name) for it in models.list()})
    for name in names:
        for it in find(_WHERE, f"model {name}", versions, name) or ():
            yield name, it


def _change(
    connection: Connection,
    name: str,
    version: str,
    tags: Callable[[dict[str, str]], dict[str, str]],
) -> None:
    models = connection.client.models
    with told(_WHERE, f"model {name}:{version}"):
        there = models.get(name, version)
        there.tags = tags(there.tags or {})
        models.create_or_update(there)
