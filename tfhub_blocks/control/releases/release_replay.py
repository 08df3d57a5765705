"""The replay of a release lock: the repository is checked against it, and so is each step."""

# decisions 31, 32 and 35

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfhub_blocks.control.project.profiles import Profile, profile_folders
from tfhub_blocks.control.project.step_graph import Graph, Node, OutputOf
from tfhub_blocks.control.releases.lock_differences import differences
from tfhub_blocks.control.releases.opened_inputs import check_open
from tfhub_blocks.control.releases.release_names import FOLDER
from tfhub_blocks.control.releases.resolution import resolve_graph
from tfhub_blocks.control.repository.catalog import DATA_TYPES
from tfhub_blocks.control.repository.git_state import (
    check_committed,
    check_descends,
    clean_commit,
)
from tfhub_blocks.records.base.digests import files_sha256
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.project_folders import project_folder
from tfhub_blocks.records.environment.code_snapshots import PACKAGE
from tfhub_blocks.records.environment.package_locks import STEP_LOCK_NAME, parse_lock
from tfhub_blocks.records.formats.locked_expectations import Expected, code_digest
from tfhub_blocks.records.formats.releases import ReleaseLock, read_lock

_TOLD = 5


def read_release(path: Path, profile: Profile) -> ReleaseLock:
    """Read the lock in a file; a profile that takes only locks needs a committed lock.

    Raises:
        BlocksError: The lock is not valid, its evidence failed, the profile or lock was not
            reviewed, or the tree is not a clean commit that contains the lock.
    """
    lock = read_lock(path)
    if profile.takes == "locks":
        _check_evidence(lock)
        _check_profile(profile)
        _check_place(path)
        clean_commit("submit")
        check_committed("submit", path)
        check_descends("submit", lock.commit, str(path))
    return lock


def _check_profile(profile: Profile) -> None:
    """Check that a profile is part of the commit or installed: others were not reviewed."""
    folders = {folder.resolve() for folder in profile_folders()}
    if profile.path.is_symlink() or profile.path.resolve().parent not in folders:
        raise BlocksError(
            "submit",
            f"profile {profile.name}",
            f"{profile.path} is not a plain file in pipelines/profiles/",
            "a profile that was committed, as the lock was",
            "Move the profile to pipelines/profiles/, and commit it after a review",
        )


def _check_evidence(lock: ReleaseLock) -> None:
    """Check that the evidence in a lock met its thresholds."""
    if lock.evidence and not lock.evidence.passed:
        missed = ", ".join(lock.evidence.thresholds) or "no threshold was set"
        raise BlocksError(
            "submit",
            f"release {lock.name} > evidence",
            f"the run of the lock did not meet its thresholds ({missed})",
            "evidence that passed",
            "Lock a run that meets them, or evaluate with another threshold on purpose",
        )


def _check_place(path: Path) -> None:
    """Check that a lock is in the folder where locks are reviewed, not elsewhere in the commit."""
    reviewed = {folder.resolve() for folder in (FOLDER, project_folder() / FOLDER)}
    if path.parent.resolve() not in reviewed:
        raise BlocksError(
            "submit",
            str(path),
            f"{path} is not in {FOLDER}/",
            "a lock that was reviewed and committed",
            f"Move the lock to {FOLDER}/, and commit it after a review",
        )


def check_resolution(lock: ReleaseLock, job: Any, graph: Graph) -> None:
    """Check that the pipeline, with a lock's inputs, resolves locally to the lock.

    Raises:
        BlocksError: A component, an environment, a step or a parameter differs; each is named.
    """
    if lock.job is None:
        raise BlocksError(
            "submit",
            f"release {lock.name} > job",
            f"release {lock.name} was locked by an earlier version of tfhub-blocks, and does not"
            " pin the fields of the job",
            "a lock with the tables [job] and [profiles]",
            "Write the lock again with `tfhub-blocks lock --replace`",
        )
    here = resolve_graph(job, graph, "submit")
    now = replace(
        lock,
        environments=here.environments,
        components=here.components,
        steps=here.steps,
        job=here.job,
    )
    found = [str(it) for it in differences(lock, now)]
    for name in lock.open or {}:
        check_open(
            "submit", f"release {lock.name} > open.{name}", name, lock.data, graph, here.steps
        )
    known = {it.reference for it in lock.given.values()}
    for node in graph.nodes.values():
        others = [it for it in map(str, _outside(node).values()) if it not in known]
        found += [f"step {node.name} reads {it}, which the lock does not contain" for it in others]
    if found:
        texts = "; ".join(found[:_TOLD])
        if len(found) > _TOLD:
            texts += f"; and {len(found) - _TOLD} more"
        raise BlocksError(
            "submit",
            f"release {lock.name}",
            f"the repository differs from the lock: {texts}",
            "exactly the content of the lock",
            f"Check out a commit that matches the lock, such as {lock.commit[:12]}, or write a new "
            "lock",
        )


def expectations(lock: ReleaseLock, graph: Graph, profile: Profile) -> dict[str, Expected]:
    """Return the facts that each step must find at run time, by node."""
    digests = {it.reference: it.digest for it in lock.given.values()}
    snapshots: dict[str, tuple[str, str]] = {}
    for node in graph.nodes.values():
        if node.component not in snapshots:
            snapshots[node.component] = snapshot(node)
    return {
        name: Expected(
            lock=lock.name,
            code=snapshots[node.component][0],
            environment=snapshots[node.component][1],
            parameters=dict(lock.steps[name].parameters),
            inputs={
                port: digests[str(value)]
                for port, value in _outside(node).items()
                if port not in _open_ports(lock, name)
            },
            policies=profile.policies,
            open=_open_ports(lock, name),
        )
        for name, node in graph.nodes.items()
    }


def _open_ports(lock: ReleaseLock, node: str) -> dict[str, dict[str, str]]:
    """Return the ports of a node that read the open input of a lock, with the promise of each."""
    return {
        port: {"input": name, "parent": lock.digest, "name": it.name, "rule": it.rule}
        for name, it in (lock.open or {}).items()
        for port, source in lock.steps[node].inputs.items()
        if source == f"inputs.{name}"
    }


def _outside(node: Node) -> Mapping[str, Any]:
    """Return the data that a node reads from outside the pipeline, by port."""
    return {
        port: value
        for port, value in node.inputs.items()
        if node.input_types[port] in DATA_TYPES and not isinstance(value, OutputOf)
    }


def snapshot(node: Node) -> tuple[str, str]:
    """Return the digest of a node's code snapshot, and the environment that its lock states.

    For a step in a baked environment, that is the environment from which it was baked.
    """
    with TemporaryDirectory() as scratch:
        code = Path(scratch) / "code"
        node.write_code(code)
        lock = code / PACKAGE / STEP_LOCK_NAME
        text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
        return code_digest(files_sha256(code)), parse_lock(text, STEP_LOCK_NAME).environment
