"""``publish``: write environments, encoders, data and steps to a workspace or a registry."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds

_VERSIONS = ("environments", "models", "data", "codes", "components")
NEEDS = (
    AzureNeeds(
        "publish",
        (
            *("read", "datastores/read", "datastores/listSecrets/action"),
            *(f"{kind}/versions/{verb}" for kind in _VERSIONS for verb in ("read", "write")),
            "codes/versions/startPendingUpload/action",
        ),
        blobs="write",
    ),
)


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    publish = commands.add_parser(
        "publish",
        help="Publish environments, encoders, data and steps to the workspace, each version once.",
        description="Publish the definitions of this project, each after those that it needs. A "
        "version is computed from content: versions that exist already are not written again.",
    )
    publish.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="step to publish, with the environment that it is pinned to (default: all steps)",
    )
    add_workspace(publish)
    publish.add_argument(
        "--registry", metavar="R", help="registry to publish to, in place of the workspace"
    )
    publish.add_argument(
        "--encoder",
        dest="encoders",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="pinned encoder to publish, in addition to those in encoders/; may be repeated",
    )
    publish.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="file or folder to publish as the data asset NAME; may be repeated",
    )
    publish.add_argument(
        "--profile",
        help="profile whose baked environments the published steps use, whose table [publish] sets"
        " the prefix of their names, and whose owner owns the published data (default: no baked"
        " environments, no prefix, and the owner of experiment)",
    )
    publish.add_argument("--dry-run", action="store_true", help="print the plan, publish nothing")
    publish.add_argument(
        "--files",
        type=Path,
        metavar="DIR",
        help="write the steps with their environments to DIR as files for `az ml environment"
        " create` and `az ml component create`, and publish nothing",
    )
    publish.set_defaults(command=_publish)


def add_workspace(parser: argparse.ArgumentParser) -> None:
    """Add the option that selects the workspace."""
    parser.add_argument(
        "--workspace-config",
        type=Path,
        metavar="F",
        help="config.json of the workspace (default: the nearest in this folder or above)",
    )


def _publish(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.repository.catalog import split_words

    words = split_words("publish", "--data", options.data)
    data = {name: Path(path) for name, path in words.items()}
    profiles = [options.profile] if options.profile else []
    from tfhub_blocks.control.project.committed_sources import production_sources

    if options.files:
        from tfhub_blocks.control.project.profiles import Publishing, read_profile
        from tfhub_blocks.control.workspace.component_files import write_files

        with production_sources("publish", profiles):
            chosen = read_profile(options.profile) if options.profile else None
            moves, names = (chosen.environments, chosen.publish) if chosen else ({}, Publishing())
            for path in write_files(options.files, options.names, moves, names):
                print(path)
        return DONE
    from tfhub_blocks.control.workspace.connection import connect

    connection = connect(options.workspace_config, options.registry)
    with production_sources("publish", profiles, acts=True) as is_taken:
        status = _publish_assets(options, connection, data, is_taken)
    if status is None:  # the workspace takes the files of a commit alone
        with production_sources("publish", profiles, always=True, acts=True):
            status = _publish_assets(options, connection, data, is_taken=True)
    return DONE if status is None else status


def _publish_assets(
    options: argparse.Namespace, connection: Any, data: dict[str, Path], is_taken: bool
) -> int | None:
    """Publish, or return None without a change if the workspace needs the files of a commit."""
    from tfhub_blocks.control.jobs.submission import takes_locks
    from tfhub_blocks.control.project.profiles import load_profile, read_profile
    from tfhub_blocks.control.workspace.asset_publishing import (
        DIFFERENT,
        NEW,
        defined_assets,
        plan,
        publish,
    )
    from tfhub_blocks.control.workspace.owners import owner_in

    # Without --profile nothing but the owner of experiment is needed, so its faults do not count.
    profile = load_profile(options.profile) if options.profile else read_profile("experiment")
    environments = profile.environments if options.profile else None
    owner = owner_in(profile)
    publishing = profile.publish if options.profile else None
    assets = defined_assets(options.names, options.encoders, data, environments, owner, publishing)
    # After the assets: wrong requests are found before the workspace is asked.
    if not is_taken and options.registry is None and takes_locks(connection, "publish"):
        return None
    planned = list(plan(connection, assets, owner))
    print(f"{'registry' if options.registry else 'workspace'} {connection.name}")
    width = max(len(item.asset.name) for item in planned)

    def line(item: Any, state: str) -> str:
        asset = item.asset
        return f"{asset.kind:<12} {asset.name:<{width}} {asset.version:<20} {state}"

    for item in planned:
        if options.dry_run or item.action != NEW:
            print(line(item, f"{item.action}: {item.problem}" if item.problem else item.action))
    if options.dry_run:
        return FAILED if any(item.action == DIFFERENT for item in planned) else DONE
    publish(connection, planned, lambda item, state: _print_state(line(item, state), state))
    return DONE


def _print_state(text: str, state: str) -> None:
    """Print a line for each published asset, and on a terminal also for assets in progress."""
    if state == "published":
        print(text, flush=True)
    elif sys.stdout.isatty():
        print(text, end="\r", flush=True)
