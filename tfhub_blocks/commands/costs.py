"""``cost``: the cost of a pipeline before it runs, of runs and jobs, by owner, and the prices."""

import argparse
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds
from tfhub_blocks.records.base.errors import BlocksError, nearest

if TYPE_CHECKING:
    from tfhub_blocks.control.costs.accounts import By
    from tfhub_blocks.control.costs.cost_estimates import CostEstimate
    from tfhub_blocks.control.project.profiles import Profile
    from tfhub_blocks.control.project.run_records import RunRecord

HISTORY, REFRESH = "history", "refresh"
_BY = ("owner", "cost_centre", "pipeline", "profile")
# The options that apply to one kind of target only; all other options apply to every kind.
_OPTIONS = {
    "a pipeline": ("settings", "profile", "items"),
    HISTORY: ("by", "since", "plot", "collect", "workspace_config"),
    REFRESH: ("region", "currency", "sizes", "default", "url"),
    "a run or a job": ("workspace_config",),
}


NEEDS = (
    AzureNeeds("cost JOB", ("read", "jobs/read", "computes/read", "experiments/runs/read")),
    AzureNeeds(
        "cost history --collect", ("read", "jobs/read", "computes/read", "experiments/runs/read")
    ),
)


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    cost = commands.add_parser(
        "cost",
        help="Show the forecast cost of a pipeline, the cost of a run, or the spending by owner.",
        description="For a pipeline, show the highest and the expected cost before it starts. For "
        "a run or a job, show the actual cost. `cost history` shows the spending of each owner "
        "by month. `cost refresh` reads list prices from Azure into pipelines/prices.toml.",
    )
    cost.add_argument(
        "what",
        metavar="TARGET",
        help="name of a pipeline, a release, a run or a job on Azure ML; or history; or refresh",
    )
    cost.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    cost.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )
    pipeline = cost.add_argument_group("options for a pipeline")
    pipeline.add_argument(
        "--set",
        dest="settings",
        action="append",
        metavar="NAME=VALUE",
        help="set an input of the pipeline; may be repeated",
    )
    pipeline.add_argument(
        "--profile", help="profile under which the pipeline would run (default: experiment)"
    )
    pipeline.add_argument(
        "--items",
        type=int,
        metavar="N",
        help="number of items in the data (default: as in earlier runs)",
    )
    history = cost.add_argument_group("options for history")
    history.add_argument(
        "--by", choices=_BY, help="attribute by which runs are grouped (default: owner)"
    )
    history.add_argument(
        "--since", metavar="MONTH", help="first month to include, such as 2026-01 (default: all)"
    )
    history.add_argument(
        "--plot", type=Path, metavar="FILE", help="also write the table as a plot to a PNG file"
    )
    history.add_argument(
        "--collect",
        action="store_true",
        default=None,
        help="first fetch the workspace's jobs that are unknown locally or had not ended",
    )
    refresh = cost.add_argument_group("options for refresh")
    refresh.add_argument(
        "--region",
        help="the only region to refresh; may be new (default: all regions in the file)",
    )
    refresh.add_argument(
        "--default",
        action="store_true",
        default=None,
        help="make --region the region of every cluster that sets no location",
    )
    refresh.add_argument(
        "--currency",
        metavar="CODE",
        help="currency of the prices, such as EUR (default: the currency in the file)",
    )
    refresh.add_argument(
        "--size",
        dest="sizes",
        action="append",
        metavar="SIZE",
        help="machine size to add to the file; may be repeated",
    )
    refresh.add_argument("--url", help="address of the price service (default: Azure's)")
    add_workspace(cost)
    cost.set_defaults(command=_cost)


def warn_of_prices(profiles: Iterable["Profile"]) -> None:
    """Warn once of old prices if one of the profiles has a budget.

    Raises:
        BlocksError: A profile has a budget, and the file of prices is invalid.
    """
    from tfhub_blocks.control.costs.prices import load_prices

    if any(profile.budget for profile in profiles):
        _warn(load_prices().warnings())


def _warn(warnings: Iterable[str]) -> None:
    for warning in warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _cost(options: argparse.Namespace) -> int:
    if options.what in (HISTORY, REFRESH):
        _check_options(options, options.what)
        return _history(options) if options.what == HISTORY else _refresh(options)
    from tfhub_blocks.control.project.committed_sources import production_sources

    with production_sources("cost", [options.profile] if options.profile else []):
        return _cost_of(options)


def _cost_of(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.releases.release_names import locked_request
    from tfhub_blocks.control.repository.catalog import pipeline_files

    if options.what not in pipeline_files():
        options.what, options.settings = locked_request("cost", options.what, options.settings)
    if options.what in pipeline_files():
        _check_options(options, "a pipeline")
        return _print_estimate(_pipeline_estimate(options), options)
    record = _recorded(options)
    _check_options(options, "a run or a job")
    return _print_account(record, options)


def _check_options(options: argparse.Namespace, what: str) -> None:
    for of, names in _OPTIONS.items():
        others = set(names) - set(_OPTIONS[what])
        given = [name for name in names if name in others and getattr(options, name) is not None]
        if given:
            name = {"settings": "set", "sizes": "size"}.get(given[0], given[0])
            option = f"--{name.replace('_', '-')}"
            raise BlocksError(
                "cost",
                option,
                f"{option} applies to {of}, not to {what}",
                "",
                f"Leave {option} out, or run `tfhub-blocks cost --help` for the options",
            )


def _pipeline_estimate(options: argparse.Namespace) -> "CostEstimate":
    from tfhub_blocks.control.costs.prices import load_prices
    from tfhub_blocks.control.project.profiles import load_profile

    profile = load_profile(options.profile or "experiment")
    if options.items is not None and options.items < 1:
        raise BlocksError(
            "cost",
            "--items",
            f"--items {options.items} is too small",
            "1 or more",
            "Pass the number of items in the data",
        )
    prices = None if profile.engine == "local" else load_prices()
    _warn(prices.warnings() if prices else ())

    from tfhub_blocks.control.costs.cost_estimates import estimate
    from tfhub_blocks.control.project.run_requests import prepare_job

    _, graph, _ = prepare_job(options.what, options.settings or (), profile)
    return estimate(graph, profile, prices, options.runs_dir, options.items)


def _print_estimate(found: "CostEstimate", options: argparse.Namespace) -> int:
    from tfhub_blocks.control.costs.cost_tables import estimate_lines

    if options.json:
        print(json.dumps(found.as_dict(), indent=1))
    else:
        print("\n".join(estimate_lines(found)))
    return DONE


def _recorded(options: argparse.Namespace) -> "RunRecord":
    """Return the record of a local run or of a job."""
    from tfhub_blocks.control.costs.job_states import ENDED
    from tfhub_blocks.control.project.run_records import FOLDERS, RECORD_NAME, read_run

    name, runs_dir = options.what, options.runs_dir
    is_name = re.fullmatch(r"[\w.-]+", name) is not None
    for folder in FOLDERS if is_name else ():
        path = runs_dir / folder / name / RECORD_NAME
        if path.is_file():
            try:
                record = read_run(path)
            except ValueError as error:
                raise BlocksError(
                    "cost",
                    name,
                    f"{path} is not a run's record: {error}",
                    "",
                    f"Delete the folder {path.parent}, or choose another run",
                ) from error
            if folder == "runs" or record.status in ENDED:
                return record
    if not is_name or not _may_be_job(name, options):
        raise _unknown(options)

    from tfhub_blocks.control.jobs.job_costs import costed_record
    from tfhub_blocks.control.jobs.submitted_jobs import Job
    from tfhub_blocks.control.workspace.connection import connect

    return costed_record(Job(connect(options.workspace_config), name), runs_dir)


def _may_be_job(name: str, options: argparse.Namespace) -> bool:
    """Return True if the workspace is passed or the name has the form of a job's name."""
    return options.workspace_config is not None or re.search(r"-\d{8}T\d{6}Z", name) is not None


def _unknown(options: argparse.Namespace) -> BlocksError:
    from tfhub_blocks.control.project.run_records import FOLDERS
    from tfhub_blocks.control.repository.catalog import pipeline_files

    runs = [path.name for name in FOLDERS for path in (options.runs_dir / name).glob("*")]
    known = [*pipeline_files(), HISTORY, REFRESH]
    return BlocksError(
        "cost",
        options.what,
        f"{options.what!r} is not a pipeline, and not a run or job in {options.runs_dir}",
        "one of " + ", ".join(known) + f", or a run in {options.runs_dir}",
        nearest(options.what, [*known, *runs])
        or "Add --workspace-config F if this is a job on Azure ML",
    )


def _print_account(record: "RunRecord", options: argparse.Namespace) -> int:
    from tfhub_blocks.control.costs.accounts import account
    from tfhub_blocks.control.costs.cost_tables import account_lines

    found = account(record)
    if options.json:
        print(json.dumps(found.as_dict(), indent=1))
    else:
        print("\n".join(account_lines(found)))
    return DONE


def _history(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.costs.accounts import spending
    from tfhub_blocks.control.costs.cost_tables import spending_lines
    from tfhub_blocks.control.project.run_records import past_runs

    since, by = options.since or "", _by(options.by)
    if not re.fullmatch(r"(\d{4}(-\d\d){0,2})?", since):
        raise BlocksError(
            "cost history",
            "--since",
            f"{since!r} is not a month",
            "a year and a month, such as 2026-01",
            "Pass --since YYYY-MM",
        )
    if options.collect:
        from tfhub_blocks.control.jobs.job_costs import collect
        from tfhub_blocks.control.workspace.connection import connect

        count = collect(connect(options.workspace_config), options.runs_dir)
        print(f"fetched the records of {count} jobs", file=sys.stderr)
    rows = spending((record for _, record in past_runs(options.runs_dir)), by, since)
    if options.json:
        print(json.dumps([asdict(row) | {"total": row.total} for row in rows], indent=1))
    else:
        print("\n".join(spending_lines(rows, by)))
    if options.plot and rows:
        from tfhub_blocks.control.costs.cost_figures import spending_png
        from tfhub_blocks.records.base.folders import write_file

        write_file(options.plot, spending_png(rows, by))
        print(options.plot, file=sys.stderr if options.json else sys.stdout)
    return DONE


def _by(word: str | None) -> "By":
    from tfhub_blocks.control.costs.accounts import By

    return next((by for by in get_args(By) if by == word), "owner")


def _refresh(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.costs.price_refresh import refresh
    from tfhub_blocks.control.costs.prices import load_prices, own_prices_path, write_prices
    from tfhub_blocks.control.costs.retail_prices import URL, PriceSource

    old, path = load_prices(), own_prices_path()
    source = PriceSource(options.currency or old.currency, options.url or URL)
    if options.default and not options.region:
        raise BlocksError(
            "cost refresh",
            "--default",
            "--default needs a region, and --region is missing",
            "",
            f"Add --region R, such as --region {old.region}",
        )
    found = refresh(old, source, options.region, options.sizes or (), bool(options.default))
    write_prices(found.prices, path)
    _warn(
        f"{region} has no price for {size}: this size is left out" for region, size in found.unknown
    )
    if options.json:
        print(json.dumps(asdict(found.prices) | {"path": str(path)}, indent=1))
        return DONE
    for region in found.regions:
        sizes = found.prices.regions[region].sizes
        print(f"{region}: {len(sizes)} sizes in {found.prices.currency}")
    print(path)
    return DONE
