"""``schedule``: pipelines that run by themselves."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.costs import warn_of_prices
from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE

_INTENTS = Path(".runs") / "intents"


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    group = commands.add_parser(
        "schedule",
        help="pipelines that run by themselves: apply, list, pause, resume, trigger, delete",
    ).add_subparsers(metavar="WHAT", required=True)
    apply = group.add_parser(
        "apply",
        help="bring the workspace's schedules to what pipelines/schedules/ says",
        description="Make or change schedules. Each freezes the versions that it names; applied "
        "again after an edit it takes the new ones.",
    )
    apply.add_argument("names", metavar="NAME", nargs="*", help="all, if none is named")
    apply.set_defaults(command=_apply)
    listing = group.add_parser(
        "list", help="what is scheduled, with frozen versions and last firings, missed ones too"
    )
    listing.add_argument("--json", action="store_true", help="print one object")
    listing.set_defaults(command=_list)
    for name, text in (
        ("pause", "let it fire no more until it is resumed"),
        ("resume", "let it fire again"),
        ("trigger", "let it fire once, now"),
        ("delete", "take it away; its jobs stay"),
    ):
        parser = group.add_parser(name, help=text)
        parser.add_argument("name", metavar="NAME")
        parser.set_defaults(command=_change, change=name)
    for parser in group.choices.values():
        add_workspace(parser)


def _apply(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.schedule_files import read_definition, schedule_files
    from tfhub_blocks.control.schedules.schedule_budgets import check_budgets
    from tfhub_blocks.control.schedules.workspace_schedules import apply
    from tfhub_blocks.control.workspace.connection import connect

    definitions = [read_definition(name) for name in options.names or schedule_files()]
    if not definitions:
        print("there are no schedules: no pipelines/schedules/*.toml")
        return DONE
    warn_of_prices(definition.profile for definition in definitions)
    check_budgets(definitions)
    connection = connect(options.workspace_config)
    for definition in definitions:
        state, versions = apply(connection, definition)
        print(f"{definition.name}: {state}")
        for version in versions:
            print(f"  {version}", flush=True)
    return DONE


def _list(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from tfhub_blocks.control.schedules.firings import scheduled
    from tfhub_blocks.control.workspace.connection import connect

    found = list(scheduled(connect(options.workspace_config), datetime.now(UTC)))
    if options.json:
        print(json.dumps([asdict(schedule) for schedule in found], indent=1, default=str))
        return DONE
    for schedule in found:
        state = "fires" if schedule.is_enabled else "paused"
        defined = "" if schedule.is_defined else "  (not defined here)"
        print(f"{schedule.name}: {state}{defined}")
        for version in schedule.versions:
            print(f"  {version}")
        for firing in schedule.firings:
            print(f"  {firing.time:%Y-%m-%d %H:%M}Z  {firing.status:<12} {firing.job}".rstrip())
    return DONE


def _change(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.schedules import workspace_schedules
    from tfhub_blocks.control.workspace.connection import connect

    connection, name = connect(options.workspace_config), options.name
    match options.change:
        case "pause":
            workspace_schedules.pause(connection, name)
            print(f"{name}: paused")
        case "resume":
            workspace_schedules.resume(connection, name)
            print(f"{name}: fires")
        case "trigger":
            print(workspace_schedules.trigger(connection, name, _INTENTS))
        case "delete":
            was_there = workspace_schedules.delete(connection, name)
            print(f"{name}: {'deleted' if was_there else 'is not there'}")
    return DONE
