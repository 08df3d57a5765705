"""``run``, ``list`` and ``show``: run pipelines locally, and list and draw them."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.status import DONE, FAILED, INTERRUPTED
from tfhub_blocks.records.base.errors import BlocksError

if TYPE_CHECKING:
    from tfhub_blocks.control.project.profiles import Profile


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    run = commands.add_parser("run", help="Run a pipeline on this machine.")
    add_settings(run, profile="local")
    run.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="directory of the runs, their outputs and the model registry (default: .runs)",
    )
    run.add_argument(
        "--no-reuse",
        action="store_true",
        help="run every step, even if its output exists from an earlier run",
    )
    run.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    run.set_defaults(command=_run)

    listing = commands.add_parser("list", help="List the pipelines and the steps.")
    listing.set_defaults(command=_list)

    show = commands.add_parser("show", help="Show a pipeline's inputs and its graph.")
    show.add_argument(
        "pipeline", metavar="PIPELINE", help="name of a pipeline; `tfhub-blocks list` lists them"
    )
    show.add_argument("--mermaid", action="store_true", help="print only the graph, as Mermaid")
    show.set_defaults(command=_show)


def add_settings(parser: argparse.ArgumentParser, profile: str) -> None:
    """Add the arguments that select a pipeline, its inputs and the profile."""
    parser.add_argument(
        "pipeline", metavar="PIPELINE", help="name of a pipeline; `tfhub-blocks list` lists them"
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set an input of the pipeline; may be repeated",
    )
    parser.add_argument(
        "--profile",
        default=profile,
        help=f"profile with the compute and the limits (default: {profile})",
    )


def _run(options: argparse.Namespace) -> int:
    # Before the slow import of azure-ai-ml: most wrong requests are found without it.
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.repository.catalog import find_pipeline

    find_pipeline(options.pipeline)
    profile = load_profile(options.profile)
    refuse_remote(profile, f"run `tfhub-blocks submit {options.pipeline} --profile {profile.name}`")

    from tfhub_blocks.control.local.local_engine import LocalEngine
    from tfhub_blocks.control.local.run_display import live_table, print_outcome
    from tfhub_blocks.control.project.run_records import CANCELED, COMPLETED
    from tfhub_blocks.control.project.run_requests import prepare_job

    _, graph, given = prepare_job(options.pipeline, options.settings, profile)
    stream = sys.stderr if options.json else sys.stdout
    with ended_as_by_interrupt(), live_table(stream) as on_change:
        engine = LocalEngine(options.runs_dir, profile, on_change, reuse=not options.no_reuse)
        record = engine.run(graph, given)
    print_outcome(record, stream)
    if options.json:
        print(json.dumps(record.as_dict(), indent=1, ensure_ascii=False))
    return {COMPLETED: DONE, CANCELED: INTERRUPTED}.get(record.status, FAILED)


def refuse_remote(profile: "Profile", otherwise: str) -> None:
    """Check that a profile runs its steps on this machine.

    Raises:
        BlocksError: The engine of the profile is not the local one.
    """
    if profile.engine != "local":
        raise BlocksError(
            "profile",
            profile.name,
            f"profile {profile.name} runs on {profile.engine}",
            'a profile with engine = "local"',
            f"Pass --profile local, or {otherwise}",
        )


@contextmanager
def ended_as_by_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop a run's steps, as Ctrl-C does, inside this context."""
    numbers = [  # leaves a handler alone that nohup or another owner of this process has set
        number
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def _list(_: argparse.Namespace) -> int:
    from tfhub_blocks.control.repository.catalog import component_files, pipeline_files

    for title, found in (("Pipelines", pipeline_files()), ("Steps", component_files())):
        print(title)
        for file in found.values():
            print(f"  {file.name:<20} {file.summary}")
    return DONE


def _show(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.local.run_display import mermaid, print_graph
    from tfhub_blocks.control.project.run_requests import draft_graph, pipeline_ports

    graph = draft_graph(options.pipeline)
    if options.mermaid:
        print(mermaid(graph), end="")
        return DONE
    print("Inputs")
    for name, port in pipeline_ports(options.pipeline).items():
        print(f"  {name:<24} {_port_text(port)}")
    print("Steps")
    print_graph(graph, sys.stdout)
    print("Mermaid")
    print(mermaid(graph), end="")
    return DONE


def _port_text(port: Any) -> str:
    default = "optional" if port.optional else "required"
    if port.default is not None:
        default = f"default {port.default!r}"
    allowed = f", one of {'|'.join(map(str, port.enum))}" if port.enum else ""
    return f"{port.type}, {default}{allowed}: {port.description or ''}"
