"""Deletion of endpoints past their end date; no other endpoint is ever deleted."""

# decision 47

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
    """The result for an endpoint that is past its end date, or whose end date is unreadable."""

    endpoint: Endpoint
    state: Literal["would be deleted", "deleted", "already gone", "has a later end date", "refused"]
    problem: BlocksError | None = None


def reap(
    connection: Connection, endpoints: Iterable[Endpoint], now: datetime, dry_run: bool = False
) -> Iterator[Reaped]:
    """Delete each endpoint of tfhub-blocks that is past its end date, with its deployments.

    An endpoint that Azure refuses to delete does not stop the others. A repeated call continues
    where the last one stopped.

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
        # Read again: a user may have deployed to the endpoint since it was listed.
        found = find(WHERE, what, of_kind.get, endpoint.name)
        if found is None:
            return Reaped(endpoint, "already gone")
        end = end_of(found.tags)
        if end is None or not end.is_past(now):
            return Reaped(endpoint, "has a later end date")
        with told(WHERE, what):
            of_kind.begin_delete(endpoint.name).result()
    except BlocksError as problem:
        return Reaped(endpoint, "refused", problem)
    return Reaped(endpoint, "deleted")


def _unreadable(endpoint: Endpoint) -> BlocksError:
    return BlocksError(
        WHERE,
        f"{endpoint.kind} endpoint {endpoint.name}",
        f"tag {UNTIL_TAG} is {endpoint.tags[UNTIL_TAG]!r}, which is not a date",
        "a date as YYYY-MM-DD",
        f"Deploy to endpoint {endpoint.name} again with --until, or delete it in Studio",
    )
