"""The command line: parses, prints, delegates. What it calls is imported when it is called."""

import argparse
import json
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfhub_blocks import __version__
from tfhub_blocks.records.errors import ERROR_PREFIX, BlocksError

DONE, FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 a step failed, 2 the request was wrong."""
    options = _parser().parse_args(arguments)
    warnings.filterwarnings("ignore")
    # A dozen lines on experimental classes, at each import of azure-ai-ml.
    logging.getLogger("azure.ai.ml._utils._experimental").setLevel(logging.ERROR)
    try:
        status: int = options.command(options)
    except BlocksError as error:
        print(f"{ERROR_PREFIX}{error}", file=sys.stderr)
        return WRONG_REQUEST
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`| head`); nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tfhub-blocks",
        description="Pretrained TensorFlow Hub models as stable blocks of Azure ML pipelines.",
    )
    parser.add_argument("--version", action="version", version=f"tfhub-blocks {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = commands.add_parser("run", help="run a pipeline on this machine")
    run.add_argument("pipeline", metavar="PIPELINE", help="its name; see `tfhub-blocks list`")
    run.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="give an input of the pipeline; may be repeated",
    )
    run.add_argument("--profile", default="local", help="where and under which limits (local)")
    run.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="where runs, outputs and the model registry are kept (.runs)",
    )
    run.add_argument(
        "--no-reuse", action="store_true", help="run steps again that were made before"
    )
    run.add_argument("--json", action="store_true", help="print one summary object on stdout")
    run.set_defaults(command=_run)

    listing = commands.add_parser("list", help="list the pipelines and the steps")
    listing.set_defaults(command=_list)

    show = commands.add_parser("show", help="show a pipeline's inputs and its graph")
    show.add_argument("pipeline", metavar="PIPELINE")
    show.add_argument("--mermaid", action="store_true", help="print the graph as Mermaid only")
    show.set_defaults(command=_show)

    samples = commands.add_parser(
        "samples", help="write sample data that needs no download but the installed packages"
    ).add_subparsers(metavar="WHAT", required=True)
    images = samples.add_parser(
        "images",
        help="about 900 OpenMoji pictures in six classes",
        description="Write about 900 OpenMoji pictures (CC BY-SA 4.0) in six classes, one folder "
        "a class. With your own data, give --set source=DIR a folder of the same layout.",
    )
    images.add_argument("folder", metavar="DIR", type=Path)
    images.set_defaults(command=_sample_images)
    encoder = samples.add_parser(
        "encoder",
        help="EfficientNet-Lite0 with ImageNet weights, pinned",
        description="Write EfficientNet-Lite0 with its ImageNet weights (Apache-2.0) as a pinned "
        "TF Hub style SavedModel. With internet, run a pipeline with the TF Hub handle instead: "
        "--set handle=https://tfhub.dev/tensorflow/efficientnet/lite0/feature-vector/2",
    )
    encoder.add_argument("folder", metavar="DIR", type=Path)
    encoder.set_defaults(command=_sample_encoder)
    _add_environment_commands(commands)
    return parser


def _add_environment_commands(commands: Any) -> None:
    env = commands.add_parser(
        "env", help="the environments that steps are pinned to: show, lock, check, diff"
    ).add_subparsers(metavar="WHAT", required=True)
    show = env.add_parser("show", help="what an environment is, and which steps are pinned to it")
    lock = env.add_parser(
        "lock", help="write the lock, the base image's digest, and the version that steps name"
    )
    lock.add_argument("--upgrade", action="store_true", help="take what is newest, not what is")
    check = env.add_parser("check", help="find what does not fit together, without a network")
    for command, function in ((show, _env_show), (lock, _env_lock), (check, _env_check)):
        command.add_argument("names", metavar="NAME", nargs="*", help="all, if none is named")
        command.set_defaults(command=function)
    diff = env.add_parser(
        "diff",
        help="compare two environments, package by package",
        description="Compare two environments, package by package. Each is named by its name, its "
        "folder, a lock file, or REVISION:NAME for what git holds.",
    )
    diff.add_argument("before", metavar="A")
    diff.add_argument("after", metavar="B")
    diff.add_argument("--json", action="store_true", help="print one object")
    diff.set_defaults(command=_env_diff)


def _run(options: argparse.Namespace) -> int:
    # Before the slow import of azure-ai-ml: most wrong requests are found without it.
    from tfhub_blocks.control.catalog import find_pipeline
    from tfhub_blocks.control.profiles import load_profile

    find_pipeline(options.pipeline)
    profile = load_profile(options.profile)

    from tfhub_blocks.control.display import live_table, print_outcome
    from tfhub_blocks.control.engine import LocalEngine
    from tfhub_blocks.control.requests import prepare_run
    from tfhub_blocks.control.runs import CANCELED, COMPLETED

    graph, given = prepare_run(options.pipeline, options.settings, profile)
    stream = sys.stderr if options.json else sys.stdout
    with _ended_as_by_interrupt(), live_table(stream) as on_change:
        engine = LocalEngine(options.runs_dir, profile, on_change, reuse=not options.no_reuse)
        record = engine.run(graph, given)
    print_outcome(record, stream)
    if options.json:
        print(json.dumps(record.as_dict(), indent=1, ensure_ascii=False))
    return {COMPLETED: DONE, CANCELED: INTERRUPTED}.get(record.status, FAILED)


@contextmanager
def _ended_as_by_interrupt() -> Iterator[None]:
    """While a run goes on: being asked to end stops its steps, as Ctrl-C does."""
    numbers = [  # not what nohup or another owner of this process has set
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
    from tfhub_blocks.control.catalog import component_files, pipeline_files

    for title, found in (("Pipelines", pipeline_files()), ("Steps", component_files())):
        print(title)
        for file in found.values():
            print(f"  {file.name:<20} {file.summary}")
    return DONE


def _show(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.display import mermaid, print_graph
    from tfhub_blocks.control.requests import draft_graph, pipeline_ports

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


def _sample_images(options: argparse.Namespace) -> int:
    from tfhub_blocks.compute.samples.images import write_sample_images
    from tfhub_blocks.records.progress import Progress

    count = write_sample_images(options.folder, progress=Progress("images"))
    print(f"{options.folder}: {count} images, OpenMoji, CC BY-SA 4.0 (ATTRIBUTION.txt)")
    return DONE


def _sample_encoder(options: argparse.Namespace) -> int:
    from tfhub_blocks.compute.samples.encoder import write_pinned_sample_encoder

    pin = write_pinned_sample_encoder(options.folder)
    print(f"{options.folder}: {pin.name}, {pin.output.dimension} features, digest {pin.digest}")
    return DONE


def _env_show(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.environments import describe, find_environments

    for environment in find_environments(options.names):
        print(environment.key)
        for title, text in describe(environment):
            print(f"  {title:<11} {text}")
    return DONE


def _env_lock(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.environment_locks import lock
    from tfhub_blocks.control.environments import find_environments

    for environment in find_environments(options.names):
        said = False
        for line in lock(environment, options.upgrade):
            print(line)
            said = True
        if not said:
            print(f"{environment.folder}: nothing to change")
    return DONE


def _env_check(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.environment_checks import check, check_strangers
    from tfhub_blocks.control.environments import find_environments

    environments = find_environments(options.names)
    findings = check(environments)
    if not options.names:
        findings += check_strangers(environments)
    for finding in findings:
        print(f"{ERROR_PREFIX}{finding}", file=sys.stderr)
    return FAILED if findings else DONE


def _env_diff(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.environment_diffs import compare, find_definition

    comparison = compare(find_definition(options.before), find_definition(options.after))
    if options.json:
        print(json.dumps(comparison.as_dict(), indent=1))
    else:
        print("\n".join(comparison.lines()))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
