"""Deletion of endpoints past their end date and of failed deployments, and of nothing else."""

# decisions 47 and 88

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from tfhub_blocks.control.deployments.end_dates import end_of
from tfhub_blocks.control.deployments.endpoints import (
    Deployment,
    Endpoint,
    operations,
    read_endpoints,
    state_of,
)
from tfhub_blocks.control.project.tags import REAP_STEP, UNTIL_TAG
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection, connect_in_job
from tfhub_blocks.control.workspace.patience import again_on_conflict
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file

WHERE = "deploy reap"
State = Literal[
    "would be deleted",
    "deleted",
    "already gone",
    "has a later end date",
    "is not failed",
    "refused",
]


@dataclass(frozen=True)
class Reaped:
    """The result for an endpoint past its end date or without a readable one, or a deployment.

    ``deployment`` is a failed deployment of an endpoint that has not ended.
    """

    endpoint: Endpoint
    state: State
    problem: BlocksError | None = None
    deployment: Deployment | None = None

    def __str__(self) -> str:
        """Return the result as one line of text."""
        endpoint = f"{self.endpoint.kind} endpoint {self.endpoint.name}"
        if self.deployment is not None:
            return f"failed deployment {self.deployment.name} of {endpoint}: {self.state}"
        return f"{endpoint}, until {self.endpoint.end}: {self.state}"

    def as_dict(self) -> dict[str, Any]:
        """Return the result, JSON-ready."""
        return {
            "kind": self.endpoint.kind,
            "endpoint": self.endpoint.name,
            "deployment": self.deployment.name if self.deployment else None,
            "owner": self.endpoint.owner,
            "until": str(self.endpoint.end) if self.endpoint.end else None,
            "state": self.state,
            "problem": str(self.problem) if self.problem else None,
        }


def reap(
    connection: Connection, endpoints: Iterable[Endpoint], now: datetime, dry_run: bool = False
) -> Iterator[Reaped]:
    """Delete each endpoint of tfhub-blocks that is past its end date, with its deployments.

    Of an endpoint that has not ended, each failed deployment is deleted. What Azure refuses to
    delete does not stop the rest. A repeated call continues where the last one stopped.

    Raises:
        BlocksError: The endpoints could not be listed.
    """
    for endpoint in endpoints:
        if not endpoint.is_ours:
            continue
        if endpoint.end is not None and endpoint.end.is_past(now):
            yield (
                Reaped(endpoint, "would be deleted")
                if dry_run
                else _delete(connection, endpoint, now)
            )
            continue
        if endpoint.end is None:
            yield Reaped(endpoint, "refused", _unreadable(endpoint))
        for deployment in endpoint.deployments:
            if deployment.is_failed:
                yield (
                    Reaped(endpoint, "would be deleted", deployment=deployment)
                    if dry_run
                    else _delete_failed(connection, endpoint, deployment)
                )


def reap_in_job(report: Path, dry_run: bool) -> None:
    """Reap the workspace in which this step runs, and write a report of each endpoint as JSON.

    Raises:
        BlocksError: An endpoint could not be deleted or has no readable end date; the others are
            deleted, and the report is written.
    """
    connection, now = connect_in_job(REAP_STEP), datetime.now(UTC)
    endpoints = list(read_endpoints(connection, None))
    reaped = []
    for it in reap(connection, endpoints, now, dry_run):
        reaped.append(it)
        print(it, flush=True)
    record = {
        "time": now.isoformat(timespec="seconds"),
        "workspace": connection.name,
        "endpoints": len(endpoints),
        "dry_run": dry_run,
        "reaped": [it.as_dict() for it in reaped],
    }
    write_file(report, json.dumps(record, indent=1).encode())
    print(f"{len(endpoints)} endpoints, {sum(it.state == 'deleted' for it in reaped)} deleted")
    for it in reaped:
        if it.problem is not None:
            raise it.problem


def delete_failed(connection: Connection, endpoint: str, deployment: str) -> bool:
    """Delete a deployment if Azure could not bring it up, and return True if it was deleted.

    Raises:
        BlocksError: Azure refused a request.
    """
    what = f"deployment {deployment} of {endpoint}"
    of_deployments = connection.client.online_deployments
    found = find(WHERE, what, of_deployments.get, deployment, endpoint)
    if found is None or state_of(found) != "Failed":
        return False
    with told(WHERE, what):
        again_on_conflict(
            lambda: of_deployments.begin_delete(name=deployment, endpoint_name=endpoint).result()
        )
    return True


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
            again_on_conflict(lambda: of_kind.begin_delete(endpoint.name).result())
    except BlocksError as problem:
        return Reaped(endpoint, "refused", problem)
    return Reaped(endpoint, "deleted")


def _delete_failed(connection: Connection, endpoint: Endpoint, it: Deployment) -> Reaped:
    try:
        deleted = delete_failed(connection, endpoint.name, it.name)
    except BlocksError as problem:
        return Reaped(endpoint, "refused", problem, it)
    return Reaped(endpoint, "deleted" if deleted else "is not failed", deployment=it)


def _unreadable(endpoint: Endpoint) -> BlocksError:
    return BlocksError(
        WHERE,
        f"{endpoint.kind} endpoint {endpoint.name}",
        f"tag {UNTIL_TAG} is {endpoint.tags[UNTIL_TAG]!r}, which is not a date",
        "a date as YYYY-MM-DD",
        f"Deploy to endpoint {endpoint.name} again with --until, or delete it in Studio",
    )
