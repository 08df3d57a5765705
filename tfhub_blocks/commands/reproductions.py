"""``reproduce``: rebuild a registered model from its lineage, and compare digest by digest."""

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.lineages import refuse_faults
from tfhub_blocks.commands.pipelines import ended_as_by_interrupt
from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED, INTERRUPTED
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds
from tfhub_blocks.records.base.errors import BlocksError

if TYPE_CHECKING:
    from tfhub_blocks.control.lineage.chains import Chain
    from tfhub_blocks.control.project.profiles import Profile
    from tfhub_blocks.control.project.run_records import RunRecord
    from tfhub_blocks.control.reproduction.reproduction_plan import ReproductionPlan
    from tfhub_blocks.control.reproduction.reproduction_report import After, Before
    from tfhub_blocks.control.workspace.connection import Connection


NEEDS = (
    AzureNeeds(
        "reproduce --profile",
        (
            *("read", "computes/read", "datastores/read", "datastores/listSecrets/action"),
            *("components/versions/read", "environments/versions/read", "data/versions/read"),
            *("models/versions/read", "jobs/read", "jobs/write"),
        ),
        blobs="write",
    ),
)


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    reproduce = commands.add_parser(
        "reproduce",
        help="Rebuild a registered model from its lineage, and compare the two.",
        description="Verify the lineage of a model, list the parts that are missing and the "
        "conditions that differ, run its steps again with the recorded code and parameters, and "
        "compare each output. The exit status is 1 if the models are not equal.",
    )
    reproduce.add_argument(
        "what",
        metavar="MODEL",
        help="registered model (MODEL or MODEL:VERSION), the run that built it, or its folder",
    )
    reproduce.add_argument(
        "--dry-run",
        action="store_true",
        help="list missing parts and differing conditions, run nothing",
    )
    reproduce.add_argument(
        "--online",
        action="store_true",
        help="ask the registries if base images and packages still exist: locally the packages "
        "whose installed version differs, on Azure ML all packages of the image",
    )
    reproduce.add_argument(
        "--profile",
        default="local",
        help="profile with the compute and the limits for the steps (default: local)",
    )
    reproduce.add_argument(
        "--job",
        metavar="JOB",
        help="job on Azure ML that an earlier call of this command submitted: wait for that job",
    )
    reproduce.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    reproduce.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )
    add_workspace(reproduce)
    reproduce.set_defaults(command=_reproduce)


def _reproduce(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.committed_sources import production_sources

    with production_sources("reproduce", [options.profile], note=False):
        return _rebuild(options)


def _rebuild(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.cards.model_facts import model_knot
    from tfhub_blocks.control.lineage.lineage_targets import find_chain
    from tfhub_blocks.control.lineage.run_archive import Archive
    from tfhub_blocks.control.lineage.verification import verify
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.project.run_records import CANCELED
    from tfhub_blocks.control.reproduction.reproduction_plan import make_plan

    profile = load_profile(options.profile)
    profile.refuse_unlocked("reproduce", options.what)
    connection = _connection(profile, options)
    archive = Archive(options.runs_dir)
    chain = find_chain(options.what, archive, "reproduce")
    refuse_faults("reproduce", options.what, verify(chain, archive))
    stream = sys.stderr if options.json else sys.stdout
    with TemporaryDirectory() as scratch:
        plan = make_plan(chain, model_knot(chain, "reproduce"), archive, Path(scratch))
        before = _before(plan, options.online, profile, connection)
        print("\n".join(before.lines()), file=stream, flush=True)
        _refuse_missing(plan, options.what, connection)
        if options.dry_run:
            if options.json:
                print(json.dumps(before.as_dict(), indent=1, ensure_ascii=False))
            return DONE
        if connection:
            record, folder = _run_there(plan, options, profile, connection, stream)
        else:
            record, folder = _run(plan, options.runs_dir, profile, stream)
    if record is None or record.status == CANCELED:
        return INTERRUPTED
    after = _after(plan, chain, record, folder, remote=connection is not None)
    print("\n".join(after.lines()), file=stream)
    if options.json:
        print(json.dumps(before.as_dict() | after.as_dict(), indent=1, ensure_ascii=False))
    return DONE if after.model.is_equal else FAILED


def _connection(profile: "Profile", options: argparse.Namespace) -> "Connection | None":
    """Connect to the workspace if the profile runs on Azure ML; else return None."""
    if profile.engine == "azureml":
        from tfhub_blocks.control.workspace.connection import connect

        return connect(options.workspace_config)
    if options.job:
        raise BlocksError(
            "reproduce",
            f"--job {options.job}",
            f"profile {profile.name} runs on {profile.engine}, not on Azure ML",
            'a profile with engine = "azureml"',
            "Pass with --profile the profile under which the job was submitted",
        )
    return None


def _before(
    plan: "ReproductionPlan", online: bool, profile: "Profile", connection: "Connection | None"
) -> "Before":
    from tfhub_blocks.control.reproduction.availability import (
        base_images,
        packages_gone,
        told_images,
    )
    from tfhub_blocks.control.reproduction.condition_differences import (
        changed_packages,
        differences_before,
        locked_packages,
    )
    from tfhub_blocks.control.reproduction.reproduction_report import Before

    images = list(told_images(base_images(plan), online))
    if connection:
        from tfhub_blocks.control.jobs.reproduction_jobs import missing_there

        plan.missing.extend(missing_there(connection, plan, profile))
        # The packages on this machine do not matter if the steps run in the workspace.
        gone = list(packages_gone(locked_packages(plan))) if online else []
        return Before(plan, [], images, gone)
    gone = list(packages_gone(changed_packages(plan).items())) if online else []
    return Before(plan, differences_before(plan), images, gone)


def _refuse_missing(plan: "ReproductionPlan", what: str, connection: "Connection | None") -> None:
    if not plan.missing:
        return
    more = f", and {len(plan.missing) - 1} more" if len(plan.missing) > 1 else ""
    if connection:
        raise BlocksError(
            "reproduce",
            what,
            f"parts of its lineage are missing: {plan.missing[0]}{more}",
            f"everything that its steps need, in this checkout and in {connection}",
            "Restore each part that is listed above as missing, or leave --profile out to rebuild "
            "the model on this machine",
        )
    raise BlocksError(
        "reproduce",
        what,
        f"parts of its lineage are missing: {plan.missing[0]}{more}",
        "the code and the inputs of each step",
        "Restore the part from a copy of the runs directory, or check out the commit that built "
        "the model, and run the command again",
    )


def _run(
    plan: "ReproductionPlan", runs_dir: Path, profile: "Profile", stream: Any
) -> tuple["RunRecord", Path]:
    """Run the steps again locally, in a folder that shares nothing with the recorded runs."""
    from tfhub_blocks.control.local.local_engine import LocalEngine
    from tfhub_blocks.control.local.run_display import live_table
    from tfhub_blocks.control.project.run_records import new_run_name
    from tfhub_blocks.control.reproduction.rebuilding import plan_graph

    name = plan.works[plan.model.node].step
    reproductions = runs_dir / "reproductions"
    folder = reproductions / new_run_name(name, reproductions)
    with ended_as_by_interrupt(), live_table(stream) as on_change:
        engine = LocalEngine(folder, profile, on_change, reuse=False)
        record = engine.run(plan_graph(plan, name), {})
    _print_errors(record, stream)
    return record, folder


def _run_there(
    plan: "ReproductionPlan",
    options: argparse.Namespace,
    profile: "Profile",
    connection: "Connection",
    stream: Any,
) -> tuple["RunRecord | None", Path]:
    """Run the steps again on Azure ML, and fetch the outputs that the comparison needs.

    The record is None if the user interrupted the wait.
    """
    from tfhub_blocks.control.costs.job_records import keep_record
    from tfhub_blocks.control.jobs.reproduction_jobs import check_job, fetch_made, prepare_plan
    from tfhub_blocks.control.jobs.submission import submit
    from tfhub_blocks.control.jobs.submitted_jobs import Job
    from tfhub_blocks.control.local.run_display import live_table

    if options.job:
        job = Job(connection, options.job)
        check_job(job, plan)
    else:
        made = submit(connection, prepare_plan(connection, plan, profile), options.runs_dir)
        print(f"{made.name}\n  {made.studio_url}", file=stream, flush=True)
        job = Job(connection, made.name)
    folder = options.runs_dir / "reproductions" / job.name
    try:
        with live_table(stream) as on_change:
            record = job.wait(on_change)
    except KeyboardInterrupt:
        print(
            f"The job goes on. To compare its outputs, run: tfhub-blocks reproduce {options.what} "
            f"--profile {options.profile} --job {job.name}\n"
            f"To cancel the job, run: tfhub-blocks cancel {job.name}",
            file=sys.stderr,
        )
        return None, folder
    keep_record(record, options.runs_dir)
    _print_errors(record, stream)
    return fetch_made(job, plan, record, folder), folder


def _print_errors(record: "RunRecord", stream: Any) -> None:
    for step, done in record.steps.items():
        if done.error:
            print(f"error: step {step} ({done.component}): {done.error}", file=stream)
            log = done.log or f"run `tfhub-blocks logs {record.run} {step}`"
            print(f"log of step {step}: {log}", file=stream)


def _after(
    plan: "ReproductionPlan", chain: "Chain", record: "RunRecord", folder: Path, remote: bool
) -> "After":
    from tfhub_blocks.control.reproduction.condition_differences import (
        differences_after,
        differences_before,
        environments_after,
    )
    from tfhub_blocks.control.reproduction.reproduction_diff import compare, has_variables
    from tfhub_blocks.control.reproduction.reproduction_report import After

    rows, provenances = compare(plan, record)
    before = environments_after(plan, provenances) if remote else differences_before(plan)
    differences = list(dict.fromkeys([*before, *differences_after(plan, provenances)]))
    after = After(plan, rows, differences, str(folder), record.status)
    row = after.model
    if not row.is_equal and row.before and row.after and has_variables(row):
        from tfhub_blocks.compute.evaluation.model_differences import model_difference

        there = [knot.output.path for knot in chain.of_kind("snapshot")]
        there += [it.after for it in rows if it.kind == "snapshot" and it.after]
        found = model_difference(row.before, row.after, there[0] if there else None)
        after.model_lines.extend(found.lines())
        after.model_record.update(found.as_dict())
    return after
