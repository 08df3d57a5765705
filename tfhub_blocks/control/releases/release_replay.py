"""Replaying a release lock: what is here is held against it, and steps are told what to see."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfhub_blocks.control.project.profiles import Profile, profile_folders
from tfhub_blocks.control.project.step_graph import Graph, Node, OutputOf
from tfhub_blocks.control.releases.lock_differences import differences
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
from tfhub_blocks.records.environment.code_snapshots import PACKAGE
from tfhub_blocks.records.environment.package_locks import STEP_LOCK_NAME, parse_lock
from tfhub_blocks.records.formats.locked_expectations import Expected, code_digest
from tfhub_blocks.records.formats.releases import ReleaseLock, read_lock

_TOLD = 5


def read_release(path: Path, profile: Profile) -> ReleaseLock:
    """The lock in a file; for a profile that takes locks only, from a clean commit that holds it.

    Raises:
        BlocksError: It is no sound lock, its evidence says that it failed, or the tree is not that
            of a commit that has it.
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
    """See that a profile is one of the commit, or installed: another one was not reviewed."""
    folders = {folder.resolve() for folder in profile_folders()}
    if profile.path.is_symlink() or profile.path.resolve().parent not in folders:
        raise BlocksError(
            "submit",
            f"profile {profile.name}",
            f"it is {profile.path}, which is no file of pipelines/profiles/",
            "a profile that was committed, as the lock was",
            "put it there, and let it be reviewed",
        )


def _check_evidence(lock: ReleaseLock) -> None:
    """See that what the run that proves a lock reached is what was asked for."""
    if lock.evidence and not lock.evidence.passed:
        missed = ", ".join(lock.evidence.thresholds) or "no threshold was asked for"
        raise BlocksError(
            "submit",
            f"release {lock.name} > evidence",
            f"its run did not reach what was asked of it ({missed})",
            "evidence that passed",
            "lock a run that reaches it, or ask for something else on purpose",
        )


def _check_place(path: Path) -> None:
    """See that a lock is where locks are reviewed, and not just anywhere in the commit."""
    if path.parent.resolve() != FOLDER.resolve():
        raise BlocksError(
            "submit",
            str(path),
            f"it is not in {FOLDER}/",
            "a lock that was reviewed and committed",
            "put it there, and let it be reviewed",
        )


def check_resolution(lock: ReleaseLock, job: Any, graph: Graph) -> None:
    """See that the pipeline with a lock's inputs is here what the lock says.

    Raises:
        BlocksError: A component, an environment, a step or a parameter differs; each is named.
    """
    here = resolve_graph(job, graph)
    now = replace(
        lock, environments=here.environments, components=here.components, steps=here.steps
    )
    found = [str(it) for it in differences(lock, now)]
    known = {it.reference for it in lock.given.values()}
    for node in graph.nodes.values():
        others = [it for it in map(str, _outside(node).values()) if it not in known]
        found += [f"step {node.name} gets {it}, of which no digest is locked" for it in others]
    if found:
        told = "; ".join(found[:_TOLD])
        if len(found) > _TOLD:
            told += f"; and {len(found) - _TOLD} more"
        raise BlocksError(
            "submit",
            f"release {lock.name}",
            f"what is here is not what is locked: {told}",
            "exactly what the lock says",
            f"check out a commit that makes it, such as {lock.commit[:12]}, or write a new lock",
        )


def expectations(lock: ReleaseLock, graph: Graph, profile: Profile) -> dict[str, Expected]:
    """What each step must see at run time, by its node."""
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
            inputs={port: digests[str(value)] for port, value in _outside(node).items()},
            policies=profile.policies,
        )
        for name, node in graph.nodes.items()
    }


def _outside(node: Node) -> Mapping[str, Any]:
    """What data a node gets from outside the pipeline, by port."""
    return {
        port: value
        for port, value in node.inputs.items()
        if node.input_types[port] in DATA_TYPES and not isinstance(value, OutputOf)
    }


def snapshot(node: Node) -> tuple[str, str]:
    """The digest of a node's code snapshot, and the environment that the lock in it states.

    For a step that runs in a baked environment, that is the one which it continues.
    """
    with TemporaryDirectory() as scratch:
        code = Path(scratch) / "code"
        node.write_code(code)
        lock = code / PACKAGE / STEP_LOCK_NAME
        text = lock.read_text(encoding="utf-8") if lock.is_file() else ""
        return code_digest(files_sha256(code)), parse_lock(text, STEP_LOCK_NAME).environment
