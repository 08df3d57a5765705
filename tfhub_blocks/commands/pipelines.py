"""``run``, ``list`` and ``show``: run pipelines locally, and list and draw them."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.status import DONE, FAILED, INTERRUPTED
from tfhub_blocks.records.base.errors import BlocksError

if TYPE_CHECKING:
    from tfhub_blocks.control.project.profiles import Profile


_RUNS_DIR = Path(".runs")


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    run = commands.add_parser("run", help="Run a pipeline on this machine.", add_help=False)
    run.add_argument(
        "-h",
        "--help",
        action=_HelpWithInputs,
        help="print this help; after PIPELINE, the inputs of the pipeline too",
    )
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

    show = commands.add_parser(
        "show",
        help="Show the graph of a pipeline, the ports of a step, or the state of a local run.",
    )
    show.add_argument(
        "name",
        metavar="NAME",
        help="pipeline or step, which `tfhub-blocks list` lists, or local run",
    )
    show.add_argument(
        "--mermaid", action="store_true", help="print only the graph of a pipeline, as Mermaid"
    )
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

    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.lineage.withdrawn_outputs import refuse_withdrawn_inputs
    from tfhub_blocks.control.local.local_engine import LocalEngine
    from tfhub_blocks.control.local.run_display import live_table, print_outcome
    from tfhub_blocks.control.project.run_records import CANCELED, COMPLETED
    from tfhub_blocks.control.project.run_requests import prepare_job

    _, graph, given = prepare_job(options.pipeline, options.settings, profile)
    refuse_withdrawn_inputs("run", graph, Archive(options.runs_dir))
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


class _HelpWithInputs(argparse.Action):
    """Prints the help of a command, and the inputs of the pipeline that was named before it."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,  # noqa: ARG002
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        parser.print_help()
        if name := getattr(namespace, "pipeline", None):
            print()
            _print_inputs(name)
        parser.exit()


def _show(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.repository.catalog import (
        component_files,
        find_pipeline_or_step,
        pipeline_files,
    )

    kinds = {
        "pipeline": options.name in pipeline_files(),
        "step": options.name in component_files(),
        "run": is_local_run(options.name),
    }
    found = [kind for kind, exists in kinds.items() if exists]
    if len(found) > 1:
        print(
            f"{options.name} is a {' and a '.join(found)}: this is the {found[0]}", file=sys.stderr
        )
    if found == ["run"]:
        return show_run(options.name)
    find_pipeline_or_step(options.name)
    if options.name not in pipeline_files():
        _show_step(options.name)
        return DONE
    from tfhub_blocks.control.local.run_display import mermaid, print_graph
    from tfhub_blocks.control.project.run_requests import draft_graph

    graph = draft_graph(options.name)
    if options.mermaid:
        print(mermaid(graph), end="")
        return DONE
    _print_inputs(options.name)
    print("Steps")
    print_graph(graph, sys.stdout)
    print("Mermaid")
    print(mermaid(graph), end="")
    return DONE


def is_local_run(name: str) -> bool:
    """Return True if a local run has this name."""
    return "/" not in name and (_RUNS_DIR / "runs" / name / "run.json").is_file()


def show_run(name: str, as_json: bool = False) -> int:
    """Print the state of a local run; a run whose process was killed is Interrupted."""
    from tfhub_blocks.control.local.run_display import print_run
    from tfhub_blocks.control.project.interrupted_runs import settle_run
    from tfhub_blocks.control.project.run_records import CANCELED
    from tfhub_blocks.control.project.run_records import FAILED as RUN_FAILED
    from tfhub_blocks.control.project.run_records import INTERRUPTED as KILLED

    folder = _RUNS_DIR / "runs" / name
    try:
        record = settle_run(_RUNS_DIR, folder)
    except (OSError, ValueError) as error:
        raise BlocksError(
            "status",
            name,
            f"{folder / 'run.json'} cannot be read ({error})",
            "the record of a run",
            f"Delete {folder} and run the pipeline again",
        ) from error
    if as_json:
        print(json.dumps(record.as_dict(), indent=1, ensure_ascii=False))
    else:
        print_run(record, sys.stdout)
    ended = {RUN_FAILED: FAILED, CANCELED: INTERRUPTED, KILLED: INTERRUPTED}
    return ended.get(record.status, DONE)


def _print_inputs(pipeline: str) -> None:
    from tfhub_blocks.control.project.run_requests import pipeline_ports

    print("Inputs")
    for name, port in pipeline_ports(pipeline).items():
        print(f"  {name:<24} {_port_text(port)}")


def _show_step(name: str) -> None:
    from tfhub_blocks.control.project.assets import load_components

    (step,) = load_components([name])
    print(f"{name}: {step.description}")
    print(f"Role {step.tags.get('role', 'cpu')}, environment {step.environment}")
    print("Inputs")
    for port, it in step.inputs.items():
        print(f"  {port:<24} {_port_text(it)}")
    print("Outputs")
    for port, it in step.outputs.items():
        print(f"  {port:<24} {it.type}: {it.description or ''}")


def _port_text(port: Any) -> str:
    from tfhub_blocks.records.base.port_texts import port_limits

    return f"{port_limits(port)}: {port.description or ''}"
