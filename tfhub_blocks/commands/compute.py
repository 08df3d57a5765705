"""``compute``: clusters whose nodes exist only while a step runs."""

import argparse
from typing import Any

from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE
from tfhub_blocks.records.base.errors import BlocksError


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    group = commands.add_parser(
        "compute", help="the clusters of a profile, which end when no step runs: apply"
    ).add_subparsers(metavar="WHAT", required=True)
    apply = group.add_parser(
        "apply",
        help="make a profile's clusters, or bring them to what it says",
        description="Make the clusters of a profile: no node while no step runs, no SSH, a managed "
        "identity. What would stay up is refused.",
    )
    apply.add_argument("--profile", default="experiment", help="whose clusters (experiment)")
    add_workspace(apply)
    apply.set_defaults(command=_apply)


def _apply(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.profiles import load_profile

    profile = load_profile(options.profile)
    if not profile.clusters:
        raise BlocksError(
            "compute apply",
            profile.name,
            "the profile defines no cluster",
            "[clusters.NAME] with size and max_nodes",
            "add it, or name another profile with --profile",
        )

    from tfhub_blocks.control.workspace.connection import connect
    from tfhub_blocks.control.workspace.workspace_clusters import apply

    connection = connect(options.workspace_config)
    for name, cluster in profile.clusters.items():
        state = apply(connection, profile, name)
        tier = "low priority" if cluster.low_priority else "dedicated"
        print(
            f"{name:<24} {cluster.size:<24} 0 to {cluster.max_nodes} nodes, {tier}, gone after "
            f"{cluster.idle_s} s: {state}",
            flush=True,
        )
    return DONE
