"""``compute``: clusters on Azure ML, whose nodes exist only while a step runs."""

import argparse
from typing import Any

from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds
from tfhub_blocks.records.base.errors import BlocksError

NEEDS = (
    AzureNeeds("compute apply", ("read", "computes/read", "computes/write", "datastores/read")),
)


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    group = commands.add_parser(
        "compute", help="Manage the clusters of a profile, which scale to zero: apply."
    ).add_subparsers(metavar="ACTION", required=True)
    apply = group.add_parser(
        "apply",
        help="Create or update the clusters of a profile.",
        description="Create or update the clusters of a profile. A cluster has no node while no "
        "step runs, no SSH, and a managed identity. Settings that would keep a node running are "
        "refused.",
    )
    apply.add_argument(
        "--profile", default="experiment", help="profile of the clusters (default: experiment)"
    )
    add_workspace(apply)
    apply.set_defaults(command=_apply)


def _apply(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.committed_sources import production_sources

    with production_sources("compute apply", [options.profile], acts=True):
        return _apply_clusters(options)


def _apply_clusters(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.profiles import load_profile

    profile = load_profile(options.profile)
    if not profile.clusters:
        raise BlocksError(
            "compute apply",
            profile.name,
            f"profile {profile.name} defines no cluster",
            "a table [clusters.NAME] with size and max_nodes",
            "Add the table to the profile's file, or pass another profile with --profile",
        )

    from tfhub_blocks.control.doctor.checkup import Subject
    from tfhub_blocks.control.doctor.identity_grants import identity_lines
    from tfhub_blocks.control.workspace.connection import connect
    from tfhub_blocks.control.workspace.workspace_clusters import apply

    connection = connect(options.workspace_config)
    subject = Subject(connection, profile)
    for name, cluster in profile.clusters.items():
        state = apply(connection, profile, name)
        tier = "low priority" if cluster.low_priority else "dedicated"
        print(
            f"{name:<24} {cluster.size:<24} 0 to {cluster.max_nodes} nodes, {tier}, released after "
            f"{cluster.idle_s} s: {state}",
            flush=True,
        )
        for line in identity_lines(subject, name):
            print(f"  {line}", flush=True)
    return DONE
