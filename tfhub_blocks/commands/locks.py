"""``lock``: pin all inputs of a pipeline in a release lock, as production requires."""

import argparse
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds
from tfhub_blocks.records.base.errors import BlocksError

if TYPE_CHECKING:
    from tfhub_blocks.control.releases.run_proofs import Proof
    from tfhub_blocks.control.workspace.connection import Connection

NEEDS = (
    AzureNeeds(
        "lock --from-run",
        (
            *("read", "jobs/read", "datastores/read", "datastores/listSecrets/action"),
            *("data/versions/read", "models/versions/read", "components/versions/read"),
            "codes/versions/read",
            *("environments/versions/read", "experiments/runs/read"),
        ),
        blobs="read",
    ),
)
DIFF = "diff"


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    lock = commands.add_parser(
        "lock",
        help="Write a release lock of a pipeline, or compare two locks: lock diff A B.",
        description="Write pipelines/releases/NAME.lock.toml, which pins data, encoders, "
        "environments, steps and every parameter of a pipeline at a clean commit. The values come "
        "from a run or a job that proves the release, or from --set. `lock diff A B` lists the "
        "differences between two locks; the exit status is 1 if there are any, else 0.",
    )
    lock.add_argument("what", metavar="PIPELINE", help="name of a pipeline, or the word diff")
    lock.add_argument(
        "locks", metavar="LOCK", nargs="*", help="for diff: names or paths of two release locks"
    )
    lock.add_argument("--name", help="name of the release")
    lock.add_argument(
        "--from-run",
        metavar="RUN",
        help="run that proves the release: a local run, `latest`, or a job on Azure ML",
    )
    lock.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set an input of the pipeline, in place of --from-run; may be repeated",
    )
    lock.add_argument(
        "--profile",
        help="profile under which the release is proven (default: that of the run, else local)",
    )
    lock.add_argument(
        "--owner",
        metavar="O",
        help="owner of the release; also the value of the pipeline's input owner",
    )
    lock.add_argument(
        "--cost-centre",
        metavar="C",
        help="cost centre that pays for the release (default: that of the profile)",
    )
    lock.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="INPUT=NAME",
        help="asset name for an input that is a local path (default: the name of the path)",
    )
    lock.add_argument(
        "--open",
        dest="open_input",
        metavar="INPUT",
        help="data input whose version stays open: each run uses the newest version whose snapshot"
        " passes its checks",
    )
    lock.add_argument(
        "--replace", action="store_true", help="replace an existing lock that differs"
    )
    lock.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    lock.add_argument(
        "--runs-dir",
        type=Path,
        default=Path(".runs"),
        metavar="DIR",
        help="directory of the runs (default: .runs)",
    )
    add_workspace(lock)
    lock.set_defaults(command=_lock)


def _lock(options: argparse.Namespace) -> int:
    if options.what == DIFF:
        return _diff(options)
    _check(options)
    from tfhub_blocks.control.project.committed_sources import production_sources

    with production_sources("lock", [], always=True, note=False):
        return _write(options)


def _write(options: argparse.Namespace) -> int:
    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.releases.release_names import check_name
    from tfhub_blocks.control.repository.catalog import find_pipeline, split_words

    find_pipeline(options.what)
    check_name(options.name)
    names = split_words("lock", "--data", options.data)
    if options.from_run is None:
        profile = load_profile(options.profile or "local")

    from tfhub_blocks.control.releases.lock_writing import Wanted, keep_lock, make_lock

    proof = None
    if options.from_run is not None:
        proof = _proof(options)
        proven_under = proof.record.profile
        if options.profile not in (None, proven_under):
            raise BlocksError(
                "lock",
                f"--profile {options.profile}",
                f"run {proof.record.run} ran under profile {proven_under}",
                f"profile {proven_under}",
                "Leave --profile out",
            )
        profile = load_profile(proven_under)
    wanted = Wanted(
        options.name,
        options.what,
        tuple(options.settings),
        names,
        options.owner,
        options.cost_centre,
        options.open_input,
    )
    lock = make_lock(wanted, profile, _published(options), proof)
    path, is_new = keep_lock(lock, options.replace)
    if options.json:
        print(json.dumps({"path": str(path), "digest": lock.digest, "written": is_new}))
        return DONE
    print(f"{path}{'' if is_new else ': is up to date'}")
    proven = f", proven by {lock.run}" if lock.run else ""
    print(f"  {lock.pipeline} at commit {lock.commit[:12]}{proven}, {len(lock.steps)} steps")
    print(f"  commit the lock, then run: tfhub-blocks submit {lock.name} --profile production")
    return DONE


def _proof(options: argparse.Namespace) -> "Proof":
    """Return the run that proves the release: a local run or a job in the workspace."""
    from tfhub_blocks.control.jobs.job_proofs import fetch_proof, is_job
    from tfhub_blocks.control.releases.run_proofs import find_proof

    if not is_job(options.from_run, options.runs_dir):
        return find_proof(options.from_run, options.runs_dir, options.what)
    from tfhub_blocks.control.workspace.connection import connect

    connection = connect(options.workspace_config)
    return fetch_proof(connection, options.from_run, options.runs_dir, options.what)


def _check(options: argparse.Namespace) -> None:
    if options.locks:
        what = options.locks[0]
        problem = f"{what!r} is a second name, and a lock is written for one pipeline"
        remedy = f"Leave {what!r} out, or run `tfhub-blocks lock diff A B` to compare two locks"
    elif not options.name:
        what, problem = "--name", "the release has no name"
        remedy = f"Run `tfhub-blocks lock {options.what} --name NAME`"
    elif options.from_run is not None and options.settings:
        what = f"--set {options.settings[0]}"
        problem = f"run {options.from_run} sets every input already"
        remedy = "Pass either --from-run or --set, and not both"
    else:
        return
    raise BlocksError("lock", what, problem, "", remedy)


def _published(options: argparse.Namespace) -> Any:
    """Return a function that reads an asset's tags; it connects to the workspace when called."""

    @cache
    def connection() -> "Connection":
        from tfhub_blocks.control.workspace.connection import connect

        return connect(options.workspace_config)

    def tags(kind: str, name: str, version: str) -> Mapping[str, str]:
        from tfhub_blocks.control.jobs.release_checks import published_tags

        return published_tags(connection(), kind, name, version)

    return tags


def _diff(options: argparse.Namespace) -> int:
    if len(options.locks) != 2:
        raise BlocksError(
            "lock diff",
            "LOCK",
            f"the number of locks is {len(options.locks)}",
            "two locks",
            "Run `tfhub-blocks lock diff A B` with the names or paths of two locks",
        )
    from tfhub_blocks.control.releases.lock_differences import differences
    from tfhub_blocks.control.releases.release_names import require_lock
    from tfhub_blocks.records.formats.releases import read_lock

    old, new = (read_lock(require_lock(word)) for word in options.locks)
    found = differences(old, new)
    if options.json:
        print(json.dumps([it.as_dict() for it in found], indent=1, ensure_ascii=False))
    for it in () if options.json else found:
        print(it)
    return FAILED if found else DONE
