"""``deploy``: endpoints for a time, what they cost, and their end."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.costs import warn_of_prices
from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import ERROR_PREFIX, BlocksError

if TYPE_CHECKING:
    from tfhub_blocks.control.deployments.endpoint_budgets import EndpointCost

_RUNS_DIR = Path(".runs")


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    group = commands.add_parser(
        "deploy", help="endpoints on Azure ML, each with an end date: online, batch, list, reap"
    ).add_subparsers(metavar="WHAT", required=True)
    online = group.add_parser(
        "online",
        help="a measured model behind HTTP, on machines that are paid for until the end date",
        description="Deploy a registered model with the runtime that passed check_latency, on the "
        "machine that it was measured on. What it costs until its end is told first, and held "
        "against the profile's budget. Repeated, it makes nothing twice.",
    )
    online.add_argument(
        "what", metavar="MODEL", help="MODEL or MODEL:VERSION of this machine, azureml:NAME:VERSION"
    )
    online.add_argument(
        "--instance-type", metavar="SIZE", help="the machine (the one it was measured on)"
    )
    online.add_argument("--instances", type=int, default=1, metavar="N", help="how many (1)")
    online.add_argument(
        "--traffic",
        type=int,
        metavar="PERCENT",
        help="its share (all where no other deployment has any, else what it has)",
    )
    online.add_argument(
        "--runs-dir", type=Path, default=_RUNS_DIR, metavar="DIR", help="where runs are (.runs)"
    )
    online.set_defaults(command=_online)
    batch = group.add_parser(
        "batch",
        help="a pipeline to be called with data, on clusters that scale to zero",
        description="Deploy a pipeline, or a release in its place, as a batch endpoint. Inputs "
        "that are given here are fixed; the others are given by whoever calls it.",
    )
    batch.add_argument("what", metavar="PIPELINE", help="a pipeline or a release")
    batch.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="INPUT=VALUE",
        help="fix an input; may be repeated",
    )
    batch.set_defaults(command=_batch)
    for parser in (online, batch):
        parser.add_argument("--profile", default="experiment", help="whose limits (experiment)")
        parser.add_argument("--until", metavar="DATE", help="its last day, YYYY-MM-DD; required")
        parser.add_argument("--name", help="the endpoint's name (made of what is deployed)")
    listing = group.add_parser(
        "list", help="every endpoint: age, time left, owner, traffic, cost so far"
    )
    listing.add_argument("--json", action="store_true", help="print one object")
    listing.set_defaults(command=_list)
    reap = group.add_parser(
        "reap",
        help="delete what is past its end date",
        description="Delete each endpoint that carries our end date and is past it, with its "
        "deployments; no other is touched. For a schedule, every night. Exit status 1: one could "
        "not be deleted, or its date cannot be read.",
    )
    reap.add_argument("--dry-run", action="store_true", help="say what would be deleted")
    reap.set_defaults(command=_reap)
    for parser in group.choices.values():
        add_workspace(parser)


def _online(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from tfhub_blocks.control.deployments.end_dates import choose_end
    from tfhub_blocks.control.project.profiles import load_profile

    where, now = "deploy online", datetime.now(UTC)
    profile = load_profile(options.profile)
    end = choose_end(options.until, profile, now, where)
    _check_share(where, options.traffic)
    if options.instances < 1:
        raise BlocksError(
            where, "--instances", f"it is {options.instances}", "1 or more", "correct it"
        )
    warn_of_prices([profile])

    from tfhub_blocks.control.deployments.candidates import open_candidate
    from tfhub_blocks.control.deployments.endpoint_names import endpoint_name
    from tfhub_blocks.control.deployments.endpoint_requests import (
        OnlineRequest,
        choose_size,
        online_cost,
    )
    from tfhub_blocks.control.deployments.online_endpoints import deploy_online
    from tfhub_blocks.control.deployments.ownership import endpoint_tags
    from tfhub_blocks.control.workspace.connection import connect

    endpoint_tags(profile, end)  # a profile that names nobody is found before anything is asked
    connection = connect(options.workspace_config)
    with open_candidate(options.what, connection, profile, options.runs_dir) as candidate:
        request = OnlineRequest(
            endpoint=endpoint_name(options.name, candidate.name, connection, where),
            candidate=candidate,
            profile=profile,
            end=end,
            size=choose_size(candidate, options.instance_type),
            instances=options.instances,
            traffic=options.traffic,
        )
        print(f"{request.endpoint}: {candidate.label} until {end}, {candidate.runtime.name}")
        _tell_cost(online_cost(connection, request, now))
        deploy_online(connection, request, _say)
    return DONE


def _tell_cost(cost: "EndpointCost") -> None:
    from tfhub_blocks.control.costs.cost_budgets import money

    beside = f", beside {money(cost.beside)} of others" if cost.beside else ""
    print(
        f"  at most {money(cost.total)} {cost.currency}: {cost.hours:,.0f} hours at "
        f"{money(cost.price_per_hour)}{beside}; the budget is {money(cost.most)}",
        flush=True,
    )


def _check_share(where: str, share: int | None) -> None:
    if share is not None and not 0 <= share <= 100:
        raise BlocksError(where, "--traffic", f"it is {share}", "0 to 100 percent", "correct it")


def _batch(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from tfhub_blocks.control.deployments.end_dates import choose_end
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.releases.release_names import find_lock, locked_request
    from tfhub_blocks.control.repository.catalog import find_pipeline, pipeline_files

    where = "deploy batch"
    profile = load_profile(options.profile)
    end = choose_end(options.until, profile, datetime.now(UTC), where)
    path = None if options.what in pipeline_files() else find_lock(options.what)
    if path is None:
        profile.refuse_unlocked(where, options.what)
        find_pipeline(options.what)
    else:
        locked_request(where, options.what, options.settings)
    warn_of_prices([profile])

    from tfhub_blocks.control.deployments.batch_endpoints import BatchRequest, deploy_batch
    from tfhub_blocks.control.deployments.endpoint_names import endpoint_name
    from tfhub_blocks.control.jobs.submission import SubmissionRequest
    from tfhub_blocks.control.workspace.connection import connect

    if path is None:
        request = SubmissionRequest(options.what, tuple(options.settings), {}, is_open=True)
    else:
        from tfhub_blocks.control.releases.release_replay import read_release

        request = SubmissionRequest.of_lock(read_release(path, profile))
    connection = connect(options.workspace_config)
    label = request.lock.name if request.lock else options.what
    name = endpoint_name(options.name, label, connection, where)
    print(f"{name}: {label} until {end}")
    inputs = deploy_batch(connection, BatchRequest(name, label, request, profile, end), _say)
    print(f"  takes     {', '.join(inputs) or 'nothing: everything is fixed'}")
    return DONE


def _say(what: str, state: str) -> None:
    print(f"  {what}: {state}", flush=True)


def _list(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from tfhub_blocks.control.costs.prices import load_prices
    from tfhub_blocks.control.deployments.endpoint_tables import endpoint_lines, endpoint_record
    from tfhub_blocks.control.deployments.endpoints import read_endpoints
    from tfhub_blocks.control.workspace.connection import connect

    prices, now = load_prices(), datetime.now(UTC)
    for warning in prices.warnings():
        print(f"warning: {warning}", file=sys.stderr)
    found = list(read_endpoints(connect(options.workspace_config), prices))
    if options.json:
        records = [endpoint_record(it, prices.currency, now) for it in found]
        print(json.dumps(records, indent=1))
    elif not found:
        print("there are no endpoints")
    else:
        for it in found:
            print("\n".join(endpoint_lines(it, prices.currency, now)))
    return DONE


def _reap(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from tfhub_blocks.control.costs.prices import load_prices
    from tfhub_blocks.control.deployments.endpoints import read_endpoints
    from tfhub_blocks.control.deployments.reaping import reap
    from tfhub_blocks.control.workspace.connection import connect

    connection, now = connect(options.workspace_config), datetime.now(UTC)
    endpoints = list(read_endpoints(connection, load_prices()))
    failed, count = False, 0
    for it in reap(connection, endpoints, now, options.dry_run):
        count += 1
        failed = failed or it.problem is not None
        kind, name, end = it.endpoint.kind, it.endpoint.name, it.endpoint.end
        if it.problem is not None:
            print(f"{ERROR_PREFIX}{it.problem}", file=sys.stderr)
        else:
            print(f"{kind} endpoint {name}, until {end}: {it.state}", flush=True)
    if not count:
        print("nothing is past its end date")
    for endpoint in endpoints:
        if not endpoint.is_ours:
            print(f"{endpoint.kind} endpoint {endpoint.name} has no end date: left alone")
    return FAILED if failed else DONE
