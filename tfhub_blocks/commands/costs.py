"""``cost``: what a run may cost and is expected to, what it did, who spent what, and the prices."""

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
from tfhub_blocks.records.base.errors import BlocksError, nearest

if TYPE_CHECKING:
    from tfhub_blocks.control.costs.accounts import By
    from tfhub_blocks.control.costs.cost_estimates import CostEstimate
    from tfhub_blocks.control.project.profiles import Profile
    from tfhub_blocks.control.project.run_records import RunRecord

HISTORY, REFRESH = "history", "refresh"
_BY = ("owner", "cost_centre", "pipeline", "profile")
# Which options are for what; the rest is for all.
_OPTIONS = {
    "a pipeline": ("settings", "profile", "items"),
    HISTORY: ("by", "since", "plot", "collect", "workspace_config"),
    REFRESH: ("region", "currency", "sizes", "default", "url"),
    "a run or a job": ("workspace_config",),
}


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    cost = commands.add_parser(
        "cost",
        help="what a pipeline may cost and is expected to, what a run did, who spent what",
        description="Of a pipeline: what it costs at most and as expected, before it starts. Of a "
        "run or a job: what it did cost. `cost history`: who spent what in which month. "
        "`cost refresh`: list prices from Azure into pipelines/prices.toml.",
    )
    cost.add_argument(
        "what",
        metavar="WHAT",
        help="a pipeline, a release, a run, a job on Azure ML, history, or refresh",
    )
    cost.add_argument("--json", action="store_true", help="print one object on stdout")
    cost.add_argument(
        "--runs-dir", type=Path, default=Path(".runs"), metavar="DIR", help="where runs are (.runs)"
    )
    pipeline = cost.add_argument_group("of a pipeline")
    pipeline.add_argument(
        "--set", dest="settings", action="append", metavar="NAME=VALUE", help="give an input"
    )
    pipeline.add_argument("--profile", help="where it would run (experiment)")
    pipeline.add_argument(
        "--items", type=int, metavar="N", help="how many items there are, if not as many as before"
    )
    history = cost.add_argument_group("history")
    history.add_argument("--by", choices=_BY, help="whose runs are counted together (owner)")
    history.add_argument("--since", metavar="MONTH", help="the first that counts, such as 2026-01")
    history.add_argument("--plot", type=Path, metavar="FILE", help="draw it into a PNG, too")
    history.add_argument(
        "--collect",
        action="store_true",
        default=None,
        help="first ask the workspace for jobs that are not known here, or had not ended",
    )
    refresh = cost.add_argument_group("refresh")
    refresh.add_argument("--region", help="one region, which may be new; else all in the file")
    refresh.add_argument(
        "--default",
        action="store_true",
        default=None,
        help="clusters that name no location are in that region from now on",
    )
    refresh.add_argument("--currency", metavar="CODE", help="such as EUR; else as in the file")
    refresh.add_argument(
        "--size", dest="sizes", action="append", metavar="SIZE", help="one more; may be repeated"
    )
    refresh.add_argument("--url", help="where to ask instead of Azure")
    add_workspace(cost)
    cost.set_defaults(command=_cost)


def warn_of_prices(profiles: Iterable["Profile"]) -> None:
    """Say of old prices that a budget is held against, once.

    Raises:
        BlocksError: There is a budget, and the file of prices is not as it must be.
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

    from tfhub_blocks.control.releases.release_names import locked_request
    from tfhub_blocks.control.repository.catalog import pipeline_files

    if options.what not in pipeline_files():
        options.what, options.settings = locked_request("cost", options.what, options.settings)
    if options.what in pipeline_files():
        _check_options(options, "a pipeline")
        return _told_estimate(_pipeline_estimate(options), options)
    record = _recorded(options)
    _check_options(options, "a run or a job")
    return _told_account(record, options)


def _check_options(options: argparse.Namespace, what: str) -> None:
    for of, names in _OPTIONS.items():
        others = set(names) - set(_OPTIONS[what])
        given = [name for name in names if name in others and getattr(options, name) is not None]
        if given:
            name = {"settings": "set", "sizes": "size"}.get(given[0], given[0])
            raise BlocksError(
                "cost",
                f"--{name.replace('_', '-')}",
                f"it is for {of}, and this is about {what}",
                "options of one thing",
                "leave it out",
            )


def _pipeline_estimate(options: argparse.Namespace) -> "CostEstimate":
    from tfhub_blocks.control.costs.prices import load_prices
    from tfhub_blocks.control.project.profiles import load_profile

    profile = load_profile(options.profile or "experiment")
    if options.items is not None and options.items < 1:
        raise BlocksError("cost", "--items", f"it is {options.items}", "at least 1", "correct it")
    prices = None if profile.engine == "local" else load_prices()
    _warn(prices.warnings() if prices else ())

    from tfhub_blocks.control.costs.cost_estimates import estimate
    from tfhub_blocks.control.project.run_requests import prepare_job

    _, graph, _ = prepare_job(options.what, options.settings or (), profile)
    return estimate(graph, profile, prices, options.runs_dir, options.items)


def _told_estimate(found: "CostEstimate", options: argparse.Namespace) -> int:
    from tfhub_blocks.control.costs.cost_tables import estimate_lines

    if options.json:
        print(json.dumps(found.as_dict(), indent=1))
    else:
        print("\n".join(estimate_lines(found)))
    return DONE


def _recorded(options: argparse.Namespace) -> "RunRecord":
    """The record of a run here, or of a job."""
    from tfhub_blocks.control.project.run_records import FINAL, FOLDERS, RECORD_NAME, read_run

    name, runs_dir = options.what, options.runs_dir
    is_name = re.fullmatch(r"[\w.-]+", name) is not None
    for folder in FOLDERS if is_name else ():
        path = runs_dir / folder / name / RECORD_NAME
        if path.is_file():
            try:
                record = read_run(path)
            except ValueError as error:
                raise BlocksError(
                    "cost", name, str(error), "a run.json that a run wrote", "remove the run"
                ) from error
            if folder == "runs" or record.status in FINAL:
                return record
    if not is_name or not _may_be_job(name, options):
        raise _unknown(options)

    from tfhub_blocks.control.jobs.job_costs import costed_record
    from tfhub_blocks.control.jobs.submitted_jobs import Job
    from tfhub_blocks.control.workspace.connection import connect

    return costed_record(Job(connect(options.workspace_config), name), runs_dir)


def _may_be_job(name: str, options: argparse.Namespace) -> bool:
    """Whether the workspace is asked: if it is named, or if the name is as jobs are called."""
    return options.workspace_config is not None or re.search(r"-\d{8}T\d{6}Z", name) is not None


def _unknown(options: argparse.Namespace) -> BlocksError:
    from tfhub_blocks.control.project.run_records import FOLDERS
    from tfhub_blocks.control.repository.catalog import pipeline_files

    runs = [path.name for name in FOLDERS for path in (options.runs_dir / name).glob("*")]
    known = [*pipeline_files(), HISTORY, REFRESH]
    return BlocksError(
        "cost",
        options.what,
        "it is no pipeline, and no run or job that is known here",
        "one of " + ", ".join(known) + f", or a run in {options.runs_dir}",
        nearest(options.what, [*known, *runs])
        or "for a job with a name of its own, add --workspace-config F",
    )


def _told_account(record: "RunRecord", options: argparse.Namespace) -> int:
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
            "cost history", "--since", f"it is {since!r}", "a month such as 2026-01", "correct it"
        )
    if options.collect:
        from tfhub_blocks.control.jobs.job_costs import collect
        from tfhub_blocks.control.workspace.connection import connect

        count = collect(connect(options.workspace_config), options.runs_dir)
        print(f"{count} jobs are new here or went on", file=sys.stderr)
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
            "cost refresh", "--default", "no region is named", "--region R", "name one"
        )
    found = refresh(old, source, options.region, options.sizes or (), bool(options.default))
    write_prices(found.prices, path)
    _warn(f"{region} has no price of {size}: it is left out" for region, size in found.unknown)
    if options.json:
        print(json.dumps(asdict(found.prices) | {"path": str(path)}, indent=1))
        return DONE
    for region in found.regions:
        sizes = found.prices.regions[region].sizes
        print(f"{region}: {len(sizes)} sizes in {found.prices.currency}")
    print(path)
    return DONE
