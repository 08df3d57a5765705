"""``lock``: what a run of a pipeline resolves, pinned in a file that production takes."""

import argparse
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfhub_blocks.commands.publishing import add_workspace
from tfhub_blocks.commands.status import DONE, FAILED
from tfhub_blocks.records.base.errors import BlocksError

if TYPE_CHECKING:
    from tfhub_blocks.control.releases.run_proofs import Proof
    from tfhub_blocks.control.workspace.connection import Connection

DIFF = "diff"


def register(commands: Any) -> None:
    """Add the command to a parser's subcommands."""
    lock = commands.add_parser(
        "lock",
        help="pin everything that a pipeline resolves, as production takes it; lock diff A B",
        description="Write pipelines/releases/NAME.lock.toml: data, encoders, environments, steps "
        "and every parameter of a pipeline, from a run or a job that proves it or from settings, "
        "at a clean commit. `lock diff A B`: how two locks differ; exit status 0 if they "
        "do not, 1 if they do.",
    )
    lock.add_argument("what", metavar="PIPELINE", help="a pipeline, or diff")
    lock.add_argument("locks", metavar="LOCK", nargs="*", help="of diff: two names or paths")
    lock.add_argument("--name", help="of the release")
    lock.add_argument(
        "--from-run",
        metavar="RUN",
        help="the run that proves it (latest: the last), or the job on Azure ML",
    )
    lock.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="instead: an input of the pipeline; may be repeated",
    )
    lock.add_argument("--profile", help="under which it is proven (that of the run, else local)")
    lock.add_argument("--owner", metavar="O", help="who answers for it; also its input owner")
    lock.add_argument("--cost-centre", metavar="C", help="who pays, if not the profile says it")
    lock.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="INPUT=NAME",
        help="the asset's name of data that is given by its path; else the path's own",
    )
    lock.add_argument(
        "--replace", action="store_true", help="take the place of a lock that differs"
    )
    lock.add_argument("--json", action="store_true", help="print one object on stdout")
    lock.add_argument(
        "--runs-dir", type=Path, default=Path(".runs"), metavar="DIR", help="where runs are (.runs)"
    )
    add_workspace(lock)
    lock.set_defaults(command=_lock)


def _lock(options: argparse.Namespace) -> int:
    if options.what == DIFF:
        return _diff(options)
    _check(options)

    from tfhub_blocks.control.project.profiles import load_profile
    from tfhub_blocks.control.releases.release_names import check_name
    from tfhub_blocks.control.repository.catalog import find_pipeline, split_word

    find_pipeline(options.what)
    check_name(options.name)
    names = dict(split_word("lock", "--data", word) for word in options.data)
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
                f"run {proof.record.run} was made under {proven_under}",
                "the profile of the run",
                "leave it out",
            )
        profile = load_profile(proven_under)
    wanted = Wanted(
        options.name,
        options.what,
        tuple(options.settings),
        names,
        options.owner,
        options.cost_centre,
    )
    lock = make_lock(wanted, profile, _published(options), proof)
    path, is_new = keep_lock(lock, options.replace)
    if options.json:
        print(json.dumps({"path": str(path), "digest": lock.digest, "written": is_new}))
        return DONE
    print(f"{path}{'' if is_new else ': is so'}")
    proven = f", proven by {lock.run}" if lock.run else ""
    print(f"  {lock.pipeline} at commit {lock.commit[:12]}{proven}, {len(lock.steps)} steps")
    print(f"  commit it, then: tfhub-blocks submit {lock.name} --profile production")
    return DONE


def _proof(options: argparse.Namespace) -> "Proof":
    """The run that proves the release, of this machine or of the workspace."""
    from tfhub_blocks.control.jobs.job_proofs import fetch_proof, is_job
    from tfhub_blocks.control.releases.run_proofs import find_proof

    if not is_job(options.from_run, options.runs_dir):
        return find_proof(options.from_run, options.runs_dir, options.what)
    from tfhub_blocks.control.workspace.connection import connect

    connection = connect(options.workspace_config)
    return fetch_proof(connection, options.from_run, options.runs_dir, options.what)


def _check(options: argparse.Namespace) -> None:
    if options.locks:
        what, problem = options.locks[0], "it stands behind a pipeline"
        remedy = "leave it out, or tfhub-blocks lock diff A B"
    elif not options.name:
        what, problem, remedy = "--name", "the release has no name", "add --name NAME"
    elif options.from_run is not None and options.settings:
        what, problem = f"--set {options.settings[0]}", "a run has inputs already"
        remedy = "name a run, or set inputs"
    else:
        return
    raise BlocksError("lock", what, problem, "PIPELINE --name NAME", remedy)


def _published(options: argparse.Namespace) -> Any:
    """Asks the workspace for what is given by reference; it is connected to only then."""

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
            " ".join(options.locks) or "nothing",
            f"these are {len(options.locks)}",
            "two locks",
            "tfhub-blocks lock diff A B",
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
