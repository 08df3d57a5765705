"""``deploy``: endpoints with a budget and an end date."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.costs import warn_of_prices
from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds
from tfhub_blocks.records.base.errors import ERROR_PREFIX, BlocksError

if TYPE_CHECKING:
    from tfhub_blocks.control.deployments.endpoint_budgets import EndpointCost
    from tfhub_blocks.control.deployments.replayed_requests import ReplayedRequest

_READ_ENDPOINTS = tuple(
    f"{kind}Endpoints/{it}" for kind in ("online", "batch") for it in ("read", "deployments/read")
)
_INSTALL_REAP = (
    *("read", "schedules/read", "schedules/write", "computes/read"),
    *("components/versions/read", "environments/versions/read"),
)
NEEDS = (
    AzureNeeds(
        "deploy online",
        (
            *("read", "onlineEndpoints/read", "onlineEndpoints/write"),
            *("onlineEndpoints/deployments/read", "onlineEndpoints/deployments/write"),
            "onlineEndpoints/deployments/delete",
            *(
                f"{kind}/versions/{verb}"
                for kind in ("models", "environments", "codes")
                for verb in ("read", "write")
            ),
            *("codes/versions/startPendingUpload/action", "datastores/read", "schedules/read"),
            "datastores/listSecrets/action",
        ),
        blobs="write",
    ),
    AzureNeeds(
        "deploy batch",
        (
            *("read", "batchEndpoints/read", "batchEndpoints/write"),
            *("batchEndpoints/deployments/read", "batchEndpoints/deployments/write"),
            *("components/versions/read", "components/versions/write", "computes/read"),
            *("codes/versions/read", "environments/versions/read"),
            *("data/versions/read", "models/versions/read"),
        ),
    ),
    AzureNeeds("deploy list", _READ_ENDPOINTS),
    AzureNeeds(
        "deploy reap", (*_READ_ENDPOINTS, "onlineEndpoints/delete", "batchEndpoints/delete")
    ),
    AzureNeeds("deploy online --requests", ("onlineEndpoints/score/action",)),
    AzureNeeds("deploy online --install-reap", _INSTALL_REAP),
    AzureNeeds("deploy reap --install", _INSTALL_REAP),
)
_RUNS_DIR = Path(".runs")


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    group = commands.add_parser(
        "deploy",
        help="Manage endpoints on Azure ML, each with an end date: online, batch, list, reap.",
    ).add_subparsers(metavar="ACTION", required=True)
    online = group.add_parser(
        "online",
        help="Serve a measured model over HTTP, on machines that cost money until the end date.",
        description="Deploy a registered model with the runtime that passed check_latency, on the "
        "machine type that it was measured on. The command first prints the cost until the end "
        "date and compares it with the profile's budget. A repeated call creates nothing twice.",
    )
    online.add_argument(
        "what",
        metavar="MODEL",
        help="registered model: MODEL or MODEL:VERSION of the local registry, or "
        "azureml:NAME:VERSION",
    )
    online.add_argument(
        "--instance-type",
        metavar="SIZE",
        help="machine type (default: the type that the model was measured on)",
    )
    online.add_argument(
        "--instances", type=int, default=1, metavar="N", help="number of machines (default: 1)"
    )
    online.add_argument(
        "--traffic",
        type=int,
        metavar="PERCENT",
        help="share of the endpoint's requests that this deployment answers (default: its present "
        "share, or 100 if no other deployment has any)",
    )
    online.add_argument(
        "--requests",
        type=Path,
        metavar="FILE",
        help="move the traffic in steps (mirrored, 5, 25, 100 %%), and check each with the requests"
        " of FILE, one JSON object a line; go back if a check fails",
    )
    online.add_argument(
        "--runs-dir",
        type=Path,
        default=_RUNS_DIR,
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )
    online.add_argument(
        "--trust-code",
        action="store_true",
        help="run the code of a model that tfhub-blocks did not build",
    )
    online.add_argument(
        "--install-reap",
        action="store_true",
        help="install the schedule that deletes endpoints past their end date, as `deploy reap"
        " --install` does",
    )
    online.set_defaults(command=_online)
    batch = group.add_parser(
        "batch",
        help="Deploy a pipeline that callers start with their data, on clusters that scale to "
        "zero.",
        description="Deploy a pipeline or a release as a batch endpoint. The inputs that you set "
        "here are fixed; callers pass the other inputs.",
    )
    batch.add_argument("what", metavar="PIPELINE", help="name of a pipeline or of a release")
    batch.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="INPUT=VALUE",
        help="fix an input of the pipeline; may be repeated",
    )
    batch.set_defaults(command=_batch)
    for parser in (online, batch):
        parser.add_argument(
            "--profile",
            default="experiment",
            help="profile with the limits and the budget (default: experiment)",
        )
        parser.add_argument(
            "--until", metavar="DATE", help="last day of the endpoint, YYYY-MM-DD; required"
        )
        parser.add_argument(
            "--name",
            help="name of the endpoint (default: a name built from the model or pipeline)",
        )
    listing = group.add_parser(
        "list", help="List every endpoint with its age, time left, owner, traffic and cost so far."
    )
    listing.add_argument("--json", action="store_true", help="print one JSON object")
    listing.set_defaults(command=_list)
    reap = group.add_parser(
        "reap",
        help="Delete endpoints that are past their end date.",
        description="Delete each endpoint whose end date, set by tfhub-blocks, has passed, with "
        "its deployments, and each failed deployment of the others. Endpoints without such a date "
        "stay. With --install, Azure ML does the same at the times in the profile. The exit status "
        "is 1 if an endpoint could not be deleted or its end date cannot be read.",
    )
    reap.add_argument(
        "--dry-run", action="store_true", help="print the endpoints to delete, delete nothing"
    )
    reap.add_argument(
        "--install",
        action="store_true",
        help="create or update a schedule that reaps in Azure ML, and delete nothing now",
    )
    reap.add_argument(
        "--profile",
        default="experiment",
        help="profile of the schedule, with deployments.reap and role operations (default:"
        " experiment)",
    )
    reap.set_defaults(command=_reap)
    for parser in group.choices.values():
        add_workspace(parser)


def _online(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.committed_sources import production_sources

    with production_sources("deploy online", [options.profile], acts=True):
        return _deploy_online(options)


def _deploy_online(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from tfhub_blocks.control.deployments.end_dates import choose_end
    from tfhub_blocks.control.project.profiles import load_profile

    where, now = "deploy online", datetime.now(UTC)
    profile = load_profile(options.profile)
    end = choose_end(options.until, profile, now, where)
    _check_share(where, options.traffic)
    if options.instances < 1:
        raise BlocksError(
            where,
            "--instances",
            f"--instances {options.instances} is too small",
            "1 or more",
            "Pass --instances 1, or a larger number",
        )
    replayed: tuple[ReplayedRequest, ...] = ()
    if options.requests is not None:
        from tfhub_blocks.control.deployments.replayed_requests import read_requests

        least = profile.deployments.rollout.min_requests
        replayed = read_requests(options.requests, least, where)
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

    endpoint_tags(profile, end)  # finds a profile without an owner before the workspace is asked
    connection = connect(options.workspace_config)
    with open_candidate(
        options.what, connection, profile, options.runs_dir, options.trust_code
    ) as candidate:
        request = OnlineRequest(
            endpoint=endpoint_name(options.name, candidate.name, connection, where),
            candidate=candidate,
            profile=profile,
            end=end,
            size=choose_size(candidate, options.instance_type),
            instances=options.instances,
            traffic=options.traffic,
            replayed=replayed,
        )
        print(f"{request.endpoint}: {candidate.label} until {end}, {candidate.runtime.name}")
        _print_cost(online_cost(connection, request, now))
        if options.install_reap:
            _install_reap(connection, profile)
        deploy_online(connection, request, _print_state)
    _offer_reap(connection, profile)
    return DONE


def _install_reap(connection: Any, profile: Any) -> None:
    from tfhub_blocks.control.costs.prices import money
    from tfhub_blocks.control.schedules.reap_schedule import install, reap_cost, schedule_name
    from tfhub_blocks.control.schedules.schedule_budgets import check_budgets

    check_budgets((), [profile])
    cost = reap_cost(profile)
    _print_state(f"schedule {schedule_name(profile)}", install(connection, profile))
    if cost.run is not None and cost.month is not None:
        print(
            f"  at most {money(cost.month)} {cost.run.currency} in 31 days: {cost.runs} runs of"
            f" {money(cost.run.total or 0.0)}"
        )


def _offer_reap(connection: Any, profile: Any) -> None:
    """Print how to install the schedule that ends endpoints, if the workspace has none."""
    from tfhub_blocks.control.schedules.reap_schedule import is_installed

    if not is_installed(connection):
        print(
            "  note: no schedule of this workspace deletes endpoints past their end date, and they"
            f" cost money until then: run `tfhub-blocks deploy reap --install --profile"
            f" {profile.name}`"
        )


def _print_cost(cost: "EndpointCost") -> None:
    from tfhub_blocks.control.costs.prices import money

    others = f", plus {money(cost.beside)} for other endpoints" if cost.beside else ""
    print(
        f"  at most {money(cost.total)} {cost.currency}: {cost.hours:,.0f} hours at "
        f"{money(cost.price_per_hour)}{others}; the budget is {money(cost.most)}",
        flush=True,
    )
    print(f"  not included: {'; '.join(cost.unbounded)}", flush=True)


def _check_share(where: str, share: int | None) -> None:
    if share is not None and not 0 <= share <= 100:
        raise BlocksError(
            where,
            "--traffic",
            f"--traffic {share} is not a percentage",
            "a number from 0 to 100",
            "Pass --traffic 100 to send all requests to this deployment",
        )


def _batch(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.committed_sources import production_sources

    with production_sources("deploy batch", [options.profile], note=False):
        return _deploy_batch(options)


def _deploy_batch(options: argparse.Namespace) -> int:
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
    from tfhub_blocks.control.project.run_requests import prepare_draft
    from tfhub_blocks.control.workspace.connection import connect

    if path is None:
        prepare_draft(options.what, options.settings, profile)  # before Azure is asked
        request = SubmissionRequest(options.what, tuple(options.settings), {}, is_open=True)
    else:
        from tfhub_blocks.control.releases.release_replay import read_release

        request = SubmissionRequest.of_lock(read_release(path, profile))
    connection = connect(options.workspace_config)
    label = request.lock.name if request.lock else options.what
    name = endpoint_name(options.name, label, connection, where)
    print(f"{name}: {label} until {end}")
    batch = BatchRequest(name, label, request, profile, end)
    inputs = deploy_batch(connection, batch, _print_state)
    print(f"  inputs    {', '.join(inputs) or 'none, all inputs are fixed'}")
    return DONE


def _print_state(name: str, state: str) -> None:
    print(f"  {name}: {state}", flush=True)


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
        print("no endpoints")
    else:
        for it in found:
            print("\n".join(endpoint_lines(it, prices.currency, now)))
    return DONE


def _reap(options: argparse.Namespace) -> int:
    if options.install:
        return _reap_by_schedule(options)
    from datetime import UTC, datetime

    from tfhub_blocks.control.deployments.endpoints import read_endpoints
    from tfhub_blocks.control.deployments.reaping import reap
    from tfhub_blocks.control.workspace.connection import connect

    connection, now = connect(options.workspace_config), datetime.now(UTC)
    endpoints = list(read_endpoints(connection, None))
    failed, count = False, 0
    for it in reap(connection, endpoints, now, options.dry_run):
        count += 1
        failed = failed or it.problem is not None
        if it.problem is not None:
            print(f"{ERROR_PREFIX}{it.problem}", file=sys.stderr)
        else:
            print(it, flush=True)
    if not count:
        print("no endpoint is past its end date")
    for endpoint in endpoints:
        if not endpoint.is_ours:
            print(f"{endpoint.kind} endpoint {endpoint.name} has no end date: not touched")
    return FAILED if failed else DONE


def _reap_by_schedule(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.committed_sources import production_sources
    from tfhub_blocks.control.project.profiles import load_profile

    if options.dry_run:
        raise BlocksError(
            "deploy reap",
            "--dry-run",
            "--dry-run and --install were both passed",
            "one of the two",
            "Pass --install to let Azure ML reap, or --dry-run to see what would be deleted",
        )
    with production_sources("deploy reap", [options.profile], acts=True):
        profile = load_profile(options.profile)
        warn_of_prices([profile])
        from tfhub_blocks.control.schedules.reap_schedule import reap_trigger
        from tfhub_blocks.control.workspace.connection import connect

        reap_trigger(profile)  # a profile without the time is refused before Azure is asked
        _install_reap(connect(options.workspace_config), profile)
    return DONE
