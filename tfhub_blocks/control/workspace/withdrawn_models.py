"""The tag of a withdrawal on models of a workspace, so that each machine can see it."""

# decision 65

from collections.abc import Collection, Iterator
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
    models = connection.client.models

    def versions(name: str) -> list[Any]:
        return list(models.list(name, list_view_type="ActiveOnly"))

    with told(_WHERE, "models"):
        names = sorted({str(it.name) for it in models.list()})
    for name in names:
        for it in find(_WHERE, f"model {name}", versions, name) or ():
            tags = it.tags or {}
            if not {tags.get(f"{TAG}{key}", "") for key in _DIGEST_TAGS} & set(digests):
                continue
            if tags.get(f"{TAG}{WITHDRAWN}") != withdrawal:
                with told(_WHERE, f"model {name}:{it.version}"):
                    there = models.get(name, it.version)
                    there.tags = {**(there.tags or {}), f"{TAG}{WITHDRAWN}": withdrawal}
                    models.create_or_update(there)
            yield f"{name}:{it.version}"
