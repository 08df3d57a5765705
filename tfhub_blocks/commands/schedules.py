"""``schedule``: pipelines that Azure ML runs at set times."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfhub_blocks.commands.costs import warn_of_prices
from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds

_READ = ("read", "schedules/read")
_WRITE = (*_READ, "schedules/write")
NEEDS = (
    AzureNeeds(
        "schedule apply",
        (
            *_WRITE,
            *(f"{kind}/versions/read" for kind in ("components", "data", "environments", "models")),
            *("computes/read", "components/versions/write", "codes/versions/read"),
            *("codes/versions/write", "codes/versions/startPendingUpload/action"),
            *("datastores/read", "datastores/listSecrets/action"),
        ),
        blobs="write",
    ),
    AzureNeeds("schedule list", (*_READ, "jobs/read")),
    AzureNeeds("schedule pause", _WRITE),
    AzureNeeds("schedule resume", _WRITE),
    AzureNeeds("schedule trigger", (*_READ, "schedules/trigger/action")),
    AzureNeeds("schedule delete", (*_WRITE, "schedules/delete")),
)
_INTENTS = Path(".runs") / "intents"


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    group = commands.add_parser(
        "schedule",
        help="Run pipelines at set times: apply, list, pause, resume, trigger, delete.",
    ).add_subparsers(metavar="ACTION", required=True)
    apply = group.add_parser(
        "apply",
        help="Create or update the workspace's schedules from pipelines/schedules/.",
        description="Create or update schedules. A schedule keeps the versions that were resolved "
        "when it was applied; apply it again after an edit to use the new versions.",
    )
    apply.add_argument(
        "names", metavar="NAME", nargs="*", help="name of a schedule (default: all schedules)"
    )
    apply.set_defaults(command=_apply)
    listing = group.add_parser(
        "list", help="List the schedules with their versions and latest firings, missed ones too."
    )
    listing.add_argument("--json", action="store_true", help="print one JSON array")
    listing.set_defaults(command=_list)
    for name, text in (
        ("pause", "Stop a schedule from firing until it is resumed."),
        ("resume", "Let a paused schedule fire again."),
        ("trigger", "Fire a schedule once, now."),
        ("delete", "Delete a schedule; its jobs stay."),
    ):
        parser = group.add_parser(name, help=text)
        parser.add_argument("name", metavar="NAME", help="name of the schedule")
        parser.add_argument(
            "--profile",
            help="profile whose owner must be that of the schedule (default: the profile in the"
            " schedule's file, else experiment)",
        )
        parser.set_defaults(command=_change, change=name)
    for parser in group.choices.values():
        add_workspace(parser)


def _apply(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.committed_sources import production_sources
    from tfhub_blocks.control.project.schedule_files import named_profiles

    with production_sources("schedule apply", named_profiles(options.names)):
        return _apply_schedules(options)


def _apply_schedules(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.schedule_files import read_definition, schedule_files
    from tfhub_blocks.control.schedules.schedule_budgets import check_budgets
    from tfhub_blocks.control.schedules.workspace_schedules import apply
    from tfhub_blocks.control.workspace.connection import connect

    definitions = [read_definition(name) for name in options.names or schedule_files()]
    if not definitions:
        print("no schedules: pipelines/schedules/ contains no .toml file")
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
        defined = "" if schedule.is_defined else "  (not defined in pipelines/schedules/)"
        print(f"{schedule.name}: {state}{defined}")
        print(f"  jobs run as: {schedule.identity}")
        for version in schedule.versions:
            print(f"  {version}")
        for firing in schedule.firings:
            print(f"  {firing.time:%Y-%m-%d %H:%M}Z  {firing.status:<12} {firing.job}".rstrip())
    return DONE


def _change(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.schedules import workspace_schedules
    from tfhub_blocks.control.workspace.connection import connect

    name, owner = options.name, _owner(options)
    connection = connect(options.workspace_config)
    match options.change:
        case "pause":
            workspace_schedules.pause(connection, name, owner)
            print(f"{name}: paused")
        case "resume":
            workspace_schedules.resume(connection, name, owner)
            print(f"{name}: fires")
        case "trigger":
            print(workspace_schedules.trigger(connection, name, _INTENTS, owner))
        case "delete":
            was_there = workspace_schedules.delete(connection, name, owner)
            print(f"{name}: {'deleted' if was_there else 'no such schedule'}")
    return DONE


def _owner(options: argparse.Namespace) -> str:
    """Return the owner for whom a schedule is changed."""
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.project.schedule_files import read_definition, schedule_files
    from tfhub_blocks.control.workspace.owners import owner_in

    if options.profile is None and options.name in schedule_files():
        return owner_in(read_definition(options.name).profile)
    return owner_in(load_profile(options.profile or "experiment"))
