"""``owners``: what costs money or is shared in a workspace, and whose it is."""

import argparse
import json
from typing import Any

from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds

NEEDS = (
    AzureNeeds(
        "owners",
        (
            *("read", "computes/read", "schedules/read"),
            *(f"{kind}Endpoints/read" for kind in ("online", "batch")),
            *(f"{kind}Endpoints/deployments/read" for kind in ("online", "batch")),
            *(f"{kind}/read" for kind in ("environments", "data", "models")),
            *(f"{kind}/versions/read" for kind in ("environments", "data", "models")),
        ),
    ),
)


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    owners = commands.add_parser(
        "owners",
        help="List everything in the workspace that costs money or is shared, with its owner.",
        description="List clusters, endpoints, schedules and environments with owner, cost centre "
        "and the cost of a day while nothing runs. The exit status is 1 if something has no owner, "
        "an endpoint has no end date or is past it, or a machine does not end by itself.",
    )
    owners.add_argument(
        "--assets", action="store_true", help="list data and models too, one request for each name"
    )
    owners.add_argument("--json", action="store_true", help="print one JSON object")
    add_workspace(owners)
    owners.set_defaults(command=_owners)


def _owners(options: argparse.Namespace) -> int:
    import sys
    from datetime import UTC, datetime

    from tfhub_blocks.control.costs.prices import load_prices
    from tfhub_blocks.control.deployments.owner_table import owned_things, owner_lines
    from tfhub_blocks.control.workspace.connection import connect

    prices, now = load_prices(), datetime.now(UTC)
    for warning in prices.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    connection = connect(options.workspace_config)
    found = list(owned_things(connection, prices, now, options.assets))
    if options.json:
        things = [it.as_dict() for it in found]
        print(json.dumps({"currency": prices.currency, "things": things}, indent=1))
    else:
        print("\n".join(owner_lines(found, prices.currency)))
    return FAILED if any(it.findings for it in found) else DONE
