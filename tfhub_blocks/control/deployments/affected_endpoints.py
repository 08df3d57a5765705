"""The endpoints of a workspace that use something."""

# decision 65

from collections.abc import Collection, Iterator

from tfhub_blocks.control.costs.prices import load_prices
from tfhub_blocks.control.deployments.endpoints import read_endpoints
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.formats.withdrawn import Withdrawn


def affected_endpoints(
    connection: Connection, uses: Withdrawn, names: Collection[str]
) -> Iterator[str]:
    """Yield each deployment that uses something, as KIND NAME, DEPLOYMENT.

    Args:
        connection: The workspace.
        uses: The signs of what is used.
        names: The names of registered models and releases that use it.

    Raises:
        BlocksError: Azure refused a request.
    """
    for endpoint in read_endpoints(connection, load_prices()):
        for deployment in endpoint.deployments:
            name, _, version = deployment.what.rpartition(":")
            if deployment.what in names or (name and uses.of_version(name, version)):
                yield f"{endpoint.kind} endpoint {endpoint.name}, deployment {deployment.name}"
