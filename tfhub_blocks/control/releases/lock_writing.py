"""Writing a release lock, from a run that proves it or from settings."""

# decision 64

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_requests import pipeline_ports, prepare_job
from tfhub_blocks.control.releases.lock_differences import LockDifference, differences
from tfhub_blocks.control.releases.opened_inputs import check_open
from tfhub_blocks.control.releases.release_names import FOLDER, lock_path
from tfhub_blocks.control.releases.resolution import Published, resolve_graph, resolve_inputs
from tfhub_blocks.control.releases.run_proofs import Here, Proof
from tfhub_blocks.control.releases.sent_jobs import locked_profiles
from tfhub_blocks.control.repository.git_state import clean_commit
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.formats.data_versions import NEWEST
from tfhub_blocks.records.formats.releases import (
    SUFFIX,
    LockedOpen,
    ReleaseLock,
    read_lock,
    write_lock,
)

_OWNER_INPUT = "owner"


@dataclass(frozen=True)
class Wanted:
    """A release to lock: its name, its pipeline and its settings.

    ``names`` are the asset names of data passed as a path, by input. ``open_input`` is the data
    input whose version each run resolves, if any.
    """

    name: str
    pipeline: str
    settings: tuple[str, ...]
    names: Mapping[str, str]
    owner: str | None = None
    cost_centre: str | None = None
    open_input: str | None = None


def make_lock(
    wanted: Wanted, profile: Profile, published: Published, proof: Proof | None = None
) -> ReleaseLock:
    """Return the lock of a pipeline as it resolves locally, at a clean commit.

    Args:
        wanted: The release.
        profile: The profile of the run, or the one to resolve under.
        published: A function that returns the tags of assets passed by reference.
        proof: The run to lock; its inputs become those of the release.

    Raises:
        BlocksError: The tree is not clean, an input has no version, the owner is not known, or
            the run is not what the tree would build.
    """
    commit = clean_commit("lock", FOLDER.glob(f"*{SUFFIX}"))
    ports = pipeline_ports(wanted.pipeline)
    if unknown := [name for name in wanted.names if name not in ports]:
        raise BlocksError(
            "lock",
            f"--data {unknown[0]}",
            f"{wanted.pipeline} has no such input",
            "one of " + ", ".join(ports),
            nearest(unknown[0], ports) or f"Pass --data with an input of {wanted.pipeline}",
        )
    settings = proof.settings if proof else wanted.settings
    evidence = None
    if proof:
        bare = replace(profile, inputs={})
        job, graph, _ = prepare_job(wanted.pipeline, settings, bare)
        resolved = resolve_graph(job, graph)
        evidence = proof.check(Here(job, graph, resolved, profile))
    if wanted.owner and _OWNER_INPUT in ports:
        others = (it for it in settings if not it.startswith(f"{_OWNER_INPUT}="))
        settings = (*others, f"{_OWNER_INPUT}={wanted.owner}")
    job, graph, given = prepare_job(
        wanted.pipeline, settings, replace(profile, inputs={}) if proof else profile
    )
    resolved = resolve_graph(job, graph)
    inputs = resolve_inputs(ports, given, wanted.names, published)
    carried = profile.job
    owner = wanted.owner or given.get(_OWNER_INPUT) or (carried.owner if carried else "")
    if not owner:
        raise BlocksError(
            "lock",
            "--owner",
            "the release has no owner",
            "the person or team that is responsible for the release",
            "Pass --owner NAME, or set owner in [job] of the profile",
        )
    opened = wanted.open_input
    if opened:
        check_open("lock", f"--open {opened}", opened, inputs.data, graph, resolved.steps)
    lock = ReleaseLock(
        name=wanted.name,
        pipeline=wanted.pipeline,
        owner=str(owner),
        commit=commit,
        profile=profile.name,
        cost_centre=wanted.cost_centre or (carried.cost_centre if carried else None),
        run=proof.record.run if proof else None,
        data=inputs.data,
        encoder=inputs.encoder,
        environments=resolved.environments,
        components=resolved.components,
        inputs=inputs.inputs,
        steps=resolved.steps,
        job=resolved.job,
        open={opened: LockedOpen(inputs.data[opened].name, NEWEST)} if opened else None,
        evidence=evidence,
    )
    return replace(lock, profiles=locked_profiles(lock)).sealed()


def keep_lock(lock: ReleaseLock, replace_it: bool) -> tuple[Path, bool]:
    """Write a lock into the folder of locks; return its path, and True if the file changed.

    Raises:
        BlocksError: Another lock of that name exists and may not be replaced.
    """
    path = lock_path(lock.name)
    if path.exists() and not replace_it:
        there = read_lock(path)
        if found := differences(there, lock):
            raise BlocksError(
                "lock",
                str(path),
                f"{path.name} exists already and differs: {_summary(found)}",
                "a new name, or the same lock",
                "Pass another --name, or overwrite the lock with --replace",
            )
        return path, False
    write_lock(lock, path)
    return path, True


def _summary(found: Sequence[LockDifference]) -> str:
    text = "; ".join(map(str, found[:3]))
    return f"{text}; and {len(found) - 3} more" if len(found) > 3 else text
