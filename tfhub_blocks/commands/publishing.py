"""``publish``: environments, encoders, data and steps, in the workspace or a registry."""

import argparse
import sys
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.status import DONE, FAILED


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    publish = commands.add_parser(
        "publish",
        help="put environments, encoders, data and steps into the workspace, each version once",
        description="Publish what is defined here, in the order of what needs what. A version is "
        "made from content: what is there already is left alone.",
    )
    publish.add_argument(
        "names",
        metavar="NAME",
        nargs="*",
        help="steps, with the environments that they are pinned to; all, if none is named",
    )
    add_workspace(publish)
    publish.add_argument("--registry", metavar="R", help="a registry instead of the workspace")
    publish.add_argument(
        "--encoder",
        dest="encoders",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="a pinned encoder besides those in encoders/; may be repeated",
    )
    publish.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a file or folder to publish as a data asset; may be repeated",
    )
    publish.add_argument(
        "--profile", help="publish steps for the baked environments that a profile names"
    )
    publish.add_argument("--dry-run", action="store_true", help="print the plan, write nothing")
    publish.add_argument(
        "--files",
        type=Path,
        metavar="DIR",
        help="write the steps as files for `az ml component create` instead, and send nothing",
    )
    publish.set_defaults(command=_publish)


def add_workspace(parser: argparse.ArgumentParser) -> None:
    """Add the option that says which workspace is meant."""
    parser.add_argument(
        "--workspace-config",
        type=Path,
        metavar="F",
        help="a workspace's config.json; else the one in this folder or above",
    )


def _publish(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.repository.catalog import split_word

    words = (split_word("publish", "--data", word) for word in options.data)
    data = {name: Path(path) for name, path in words}
    if options.files:
        from tfhub_blocks.control.workspace.component_files import write_component_files

        for path in write_component_files(options.files):
            print(path)
        return DONE
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.workspace.asset_publishing import (
        DIFFERENT,
        NEW,
        defined_assets,
        plan,
        publish,
    )
    from tfhub_blocks.control.workspace.connection import connect

    environments = load_profile(options.profile).environments if options.profile else None
    connection = connect(options.workspace_config, options.registry)
    assets = defined_assets(options.names, options.encoders, data, environments)
    planned = list(plan(connection, assets))
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
    publish(connection, planned, lambda item, state: _say(line(item, state), state))
    return DONE


def _say(text: str, state: str) -> None:
    """A line for what was published; on a terminal also for what is on its way."""
    if state == "published":
        print(text, flush=True)
    elif sys.stdout.isatty():
        print(text, end="\r", flush=True)
