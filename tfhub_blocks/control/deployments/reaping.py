"""The end of endpoints: what is past its date is deleted, and nothing else is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tfhub_blocks.control.deployments.end_dates import end_of
from tfhub_blocks.control.deployments.endpoints import Endpoint, operations
from tfhub_blocks.control.project.tags import UNTIL_TAG
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError

WHERE = "deploy reap"


@dataclass(frozen=True)
class Reaped:
    """What became of an endpoint that was past its end, or whose end cannot be read."""

    endpoint: Endpoint
    state: Literal["would be deleted", "deleted", "is gone", "was given more time", "refused"]
    problem: BlocksError | None = None


def reap(
    connection: Connection, endpoints: Iterable[Endpoint], now: datetime, dry_run: bool = False
) -> Iterator[Reaped]:
    """Delete each endpoint that carries our end date and is past it, with its deployments.

    One that Azure refuses to delete does not keep the others; repeated, it goes on where it was.

    Raises:
        BlocksError: The endpoints could not be listed.
    """
    for endpoint in endpoints:
        if not endpoint.is_ours:
            continue
        if endpoint.end is None:
            yield Reaped(endpoint, "refused", _unreadable(endpoint))
        elif endpoint.end.is_past(now):
            yield (
                Reaped(endpoint, "would be deleted")
                if dry_run
                else _delete(connection, endpoint, now)
            )


def _delete(connection: Connection, endpoint: Endpoint, now: datetime) -> Reaped:
    of_kind, _ = operations(connection, endpoint.kind)
    what = f"{endpoint.kind} endpoint {endpoint.name}"
    try:
        # Once more: somebody may have deployed again since they were listed.
        found = find(WHERE, what, of_kind.get, endpoint.name)
        if found is None:
            return Reaped(endpoint, "is gone")
        end = end_of(found.tags)
        if end is None or not end.is_past(now):
            return Reaped(endpoint, "was given more time")
        with told(WHERE, what):
            of_kind.begin_delete(endpoint.name).result()
    except BlocksError as problem:
        return Reaped(endpoint, "refused", problem)
    return Reaped(endpoint, "deleted")


def _unreadable(endpoint: Endpoint) -> BlocksError:
    return BlocksError(
        WHERE,
        f"{endpoint.kind} endpoint {endpoint.name}",
        f"its tag {UNTIL_TAG} is {endpoint.tags[UNTIL_TAG]!r}, which is no day",
        "YYYY-MM-DD",
        "deploy to it again, or delete it in Studio",
    )
