"""``submit``, ``status``, ``logs``, ``cancel`` and ``download``: jobs on Azure ML."""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tfhub_blocks.commands.costs import warn_of_prices
from tfhub_blocks.commands.pipelines import add_settings, is_local_run, show_run
from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED, INTERRUPTED
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds
from tfhub_blocks.records.base.errors import BlocksError, nearest

if TYPE_CHECKING:
    from tfhub_blocks.control.jobs.submitted_jobs import Job
    from tfhub_blocks.control.project.run_records import RunRecord

_RUNS_DIR = Path(".runs")
# The steps' own lines show these; in any other state a job prints a line of its own.
_STATES_OF_STEPS = ("NotStarted", "Running", "Completed", "Failed", "Canceled")


_LOOK = ("read", "jobs/read", "experiments/runs/read")
_FETCH = (*_LOOK, "datastores/read", "datastores/listSecrets/action")
NEEDS = (
    AzureNeeds(
        "submit",
        (
            *("read", "computes/read", "datastores/read", "datastores/listSecrets/action"),
            *("jobs/read", "jobs/write", "environments/versions/read"),
            *(
                f"{kind}/versions/{verb}"
                for kind in ("codes", "components", "data")
                for verb in ("read", "write")
            ),
            *("codes/versions/startPendingUpload/action", "models/versions/read"),
            # learn.microsoft.com/azure/machine-learning/how-to-assign-roles: to submit any run.
            *("environments/build/action", "environments/readSecrets/action"),
            *("experiments/runs/write", "experiments/runs/submit/action"),
            *("metadata/artifacts/write", "metadata/snapshots/write"),
        ),
        blobs="write",
    ),
    AzureNeeds("status", _LOOK),
    AzureNeeds("logs", (*_LOOK, "datastores/read"), blobs="read"),
    AzureNeeds("cancel", ("read", "jobs/read", "jobs/cancel/action")),
    AzureNeeds("download", _FETCH, blobs="read"),
)


def register(commands: Any) -> None:
    """Add the commands to a parser's subcommands."""
    submit = commands.add_parser(
        "submit",
        help="Run a pipeline on Azure ML.",
        description="Send a pipeline to the workspace, with compute, limits and tags from the "
        "profile. PIPELINE may also be a release: its name, or the path of its lock. Repeating "
        "the command after a failure creates nothing twice.",
    )
    add_settings(submit, profile="experiment")
    submit.add_argument(
        "--register",
        action="append",
        default=[],
        metavar="OUTPUT=NAME",
        help="register an output of the pipeline as the asset NAME; may be repeated",
    )
    submit.add_argument(
        "--no-reuse", action="store_true", help="run every step, even if its output is cached"
    )
    submit.add_argument(
        "--wait", action="store_true", help="wait until the job ends, and show its progress"
    )
    submit.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    submit.set_defaults(command=_submit)

    status = commands.add_parser(
        "status", help="Show the state of a job or a local run, step by step."
    )
    status.add_argument("--wait", action="store_true", help="wait until the job ends")
    status.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    status.set_defaults(command=_status)

    logs = commands.add_parser("logs", help="Print the logs of the steps of a job or a local run.")
    logs.set_defaults(command=_logs)

    cancel = commands.add_parser("cancel", help="Cancel a job.")
    cancel.set_defaults(command=_cancel)

    download = commands.add_parser("download", help="Download the outputs of a job.")
    download.add_argument(
        "--output",
        dest="outputs",
        action="append",
        default=[],
        metavar="NAME",
        help="output to download; may be repeated (default: all outputs)",
    )
    download.add_argument(
        "--to",
        type=Path,
        metavar="DIR",
        help="directory for the outputs (default: .runs/downloads/JOB)",
    )
    download.set_defaults(command=_download)

    for parser in (status, logs, cancel, download):
        parser.add_argument("job", metavar="JOB", help="name of the job, as submit printed it")
    logs.add_argument(
        "steps",
        metavar="STEP",
        nargs="*",
        help="step whose log to print (default: every step that has started)",
    )
    for parser in (submit, status, logs, cancel, download):
        add_workspace(parser)


def _submit(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.committed_sources import production_sources

    with production_sources("submit", [options.profile], note=False):
        job = _sent(options)
    return _wait(job, options.json) if options.wait else DONE


def _sent(options: argparse.Namespace) -> "Job":
    """Submit a pipeline or a release, and return its job."""
    # Before the slow import of azure-ai-ml: most wrong requests are found without it.
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.releases.release_names import find_lock
    from tfhub_blocks.control.repository.catalog import find_pipeline, pipeline_files, split_words

    path = None if options.pipeline in pipeline_files() else find_lock(options.pipeline)
    if path is None:
        profile = load_profile(options.profile)
        profile.refuse_unlocked("submit", options.pipeline)
        find_pipeline(options.pipeline)
    else:
        _refuse_beside_lock(options)
        profile = load_profile(options.profile)
    warn_of_prices([profile])
    register = split_words("submit", "--register", options.register)

    from tfhub_blocks.control.jobs.submission import SubmissionRequest, prepare, submit
    from tfhub_blocks.control.jobs.submitted_jobs import Job
    from tfhub_blocks.control.workspace.connection import connect

    if path is None:
        request = SubmissionRequest(
            options.pipeline, tuple(options.settings), register, not options.no_reuse
        )
    else:
        from tfhub_blocks.control.releases.release_replay import read_release
        from tfhub_blocks.control.releases.rule_standing import check_rules

        lock = read_release(path, profile)
        if profile.takes == "locks":
            check_rules(lock, profile)
        request = SubmissionRequest.of_lock(lock, not options.no_reuse)
    connection = connect(options.workspace_config)
    made = submit(connection, prepare(connection, request, profile), _RUNS_DIR)
    stream = sys.stderr if options.json else sys.stdout
    print(f"{made.name}\n  {made.studio_url}", file=stream, flush=True)
    if not options.wait:
        print(f"  tfhub-blocks status {made.name} --wait", file=stream)
        if options.json:
            print(json.dumps({"job": made.name, "studio": made.studio_url}))
    return Job(connection, made.name, is_new=True)


def _refuse_beside_lock(options: argparse.Namespace) -> None:
    for option, words in (("--set", options.settings), ("--register", options.register)):
        if words:
            raise BlocksError(
                "submit",
                f"{option} {words[0]}",
                f"release {options.pipeline} sets every input and output already",
                "",
                f"Leave {option} out, or write another release with `tfhub-blocks lock`",
            )


def _status(options: argparse.Namespace) -> int:
    if is_local_run(options.job):
        return show_run(options.job, options.json)
    job = _job(options)
    if options.wait:
        return _wait(job, options.json)
    return _show_job(job, job.record(), options.json)


def _wait(job: "Job", as_json: bool) -> int:
    from tfhub_blocks.control.local.run_display import live_table

    stream = sys.stderr if as_json else sys.stdout
    try:
        with live_table(stream) as on_change:
            record = job.wait(_with_states(on_change, stream))
    except KeyboardInterrupt:
        print(
            f"The job goes on. To cancel it, run: tfhub-blocks cancel {job.name}", file=sys.stderr
        )
        return INTERRUPTED
    return _show_job(job, record, as_json)


def _with_states(
    on_change: Callable[["RunRecord"], None], stream: TextIO
) -> Callable[["RunRecord"], None]:
    """Return a function that also shows the states of a job in which no step changes."""
    shown = ""

    def show(record: "RunRecord") -> None:
        nonlocal shown
        if record.status not in (shown, *_STATES_OF_STEPS) and not stream.isatty():
            print(f"{'job':<14} {record.status}", file=stream, flush=True)
        shown = record.status
        on_change(replace(record, run=f"{record.run}: {record.status}"))

    return show


def _show_job(job: "Job", record: "RunRecord", as_json: bool) -> int:
    from tfhub_blocks.control.costs.job_records import keep_record
    from tfhub_blocks.control.costs.job_states import NOT_RESPONDING, PAUSED
    from tfhub_blocks.control.local.run_display import print_job
    from tfhub_blocks.control.project.run_records import CANCELED, COMPLETED
    from tfhub_blocks.control.project.run_records import FAILED as JOB_FAILED

    keep_record(record, _RUNS_DIR)
    if record.status == COMPLETED:
        from tfhub_blocks.control.jobs.job_comparison import tag_outputs

        tag_outputs(job)
    if as_json:
        print(json.dumps(record.as_dict(), indent=1, ensure_ascii=False))
    else:
        print_job(record, sys.stdout)
    ends = {JOB_FAILED: FAILED, NOT_RESPONDING: FAILED, CANCELED: INTERRUPTED, PAUSED: INTERRUPTED}
    return ends.get(record.status, DONE)


def _logs(options: argparse.Namespace) -> int:
    if is_local_run(options.job):
        return _local_logs(options)
    for step, text in _job(options).logs(options.steps):
        for line in text.splitlines():
            print(f"{step:<14} {line}")
    return DONE


def _local_logs(options: argparse.Namespace) -> int:
    """Print the logs of a local run's steps, without secrets. A reused step has no log."""
    from tfhub_blocks.control.project.run_records import RECORD_NAME, read_run
    from tfhub_blocks.records.base.redaction import redacted

    steps = read_run(_RUNS_DIR / "runs" / options.job / RECORD_NAME).steps
    for name in options.steps:
        if name not in steps:
            raise BlocksError(
                "logs",
                name,
                f"run {options.job} has no step {name!r}",
                "one of " + ", ".join(steps),
                nearest(name, steps) or f"Run `tfhub-blocks show {options.job}`",
            )
    for name in options.steps or steps:
        path = Path(steps[name].log) if steps[name].log else None
        if path is None or not path.is_file():
            continue
        for line in redacted(path.read_text(encoding="utf-8", errors="replace")).splitlines():
            print(f"{name:<14} {line}")
    return DONE


def _cancel(options: argparse.Namespace) -> int:
    _job(options).cancel()
    print(f"{options.job}: cancelled")
    return DONE


def _download(options: argparse.Namespace) -> int:
    job, folder = _job(options), options.to or _downloads(options.job)
    known = job.outputs()
    for name in options.outputs:
        if name not in known:
            raise BlocksError(
                "download",
                f"--output {name}",
                f"job {options.job} has no output {name!r}",
                "one of " + ", ".join(known),
                nearest(name, known) or "Leave --output out to download all outputs",
            )
    for name in options.outputs or known:
        print(job.download(name, known[name], folder))
    return DONE


def _downloads(job: str) -> Path:
    return _RUNS_DIR / "downloads" / job


def _job(options: argparse.Namespace) -> "Job":
    from tfhub_blocks.control.jobs.submitted_jobs import Job
    from tfhub_blocks.control.workspace.connection import connect

    return Job(connect(options.workspace_config), options.job)
