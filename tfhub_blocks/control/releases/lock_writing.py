"""Writing a release lock, from a run that proves it or from settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_requests import pipeline_ports, prepare_job
from tfhub_blocks.control.releases.lock_differences import LockDifference, differences
from tfhub_blocks.control.releases.release_names import FOLDER, lock_path
from tfhub_blocks.control.releases.resolution import Published, resolve_graph, resolve_inputs
from tfhub_blocks.control.releases.run_proofs import Here, Proof
from tfhub_blocks.control.repository.git_state import clean_commit
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.formats.releases import SUFFIX, ReleaseLock, read_lock, write_lock

_OWNER_INPUT = "owner"


@dataclass(frozen=True)
class Wanted:
    """A release that is to be locked: of which pipeline, under which name, and with what.

    ``names`` are the asset names of data that is given by its path, by input.
    """

    name: str
    pipeline: str
    settings: tuple[str, ...]
    names: Mapping[str, str]
    owner: str | None = None
    cost_centre: str | None = None


def make_lock(
    wanted: Wanted, profile: Profile, published: Published, proof: Proof | None = None
) -> ReleaseLock:
    """The lock of a pipeline as it resolves here, at a clean commit.

    Args:
        wanted: The release.
        profile: Under which it was proven, or resolves.
        published: Asked for assets that are given by reference.
        proof: The run that it is to be the lock of; its inputs are those of the release.

    Raises:
        BlocksError: The tree is not clean, something has no version, the owner is not known, or
            the run is not what the tree makes.
    """
    commit = clean_commit("lock", FOLDER.glob(f"*{SUFFIX}"))
    ports = pipeline_ports(wanted.pipeline)
    if unknown := [name for name in wanted.names if name not in ports]:
        raise BlocksError(
            "lock",
            f"--data {unknown[0]}",
            f"{wanted.pipeline} has no such input",
            "one of " + ", ".join(ports),
            nearest(unknown[0], ports) or "name one of these",
        )
    settings = proof.settings if proof else wanted.settings
    evidence = None
    if proof:
        bare = replace(profile, inputs={})
        job, graph, _ = prepare_job(wanted.pipeline, settings, bare)
        resolved = resolve_graph(job, graph)
        evidence = proof.check(Here(job, graph, resolved, profile))
    if wanted.owner and _OWNER_INPUT in ports:
        settings = (*settings, f"{_OWNER_INPUT}={wanted.owner}")
    job, graph, given = prepare_job(
        wanted.pipeline, settings, replace(profile, inputs={}) if proof else profile
    )
    resolved = resolve_graph(job, graph)
    inputs = resolve_inputs(ports, given, wanted.names, published)
    carried = profile.job
    owner = wanted.owner or given.get(_OWNER_INPUT) or (carried.owner if carried else "")
    if not owner:
        raise BlocksError(
            "lock", "--owner", "nobody is named", "who answers for the release", "name somebody"
        )
    return ReleaseLock(
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
        evidence=evidence,
    ).sealed()


def keep_lock(lock: ReleaseLock, replace_it: bool) -> tuple[Path, bool]:
    """Write a lock where it belongs; where that is, and whether it was not there as it is.

    Raises:
        BlocksError: Another lock of that name is there and is not to be replaced.
    """
    path = lock_path(lock.name)
    if path.exists() and not replace_it:
        there = read_lock(path)
        if found := differences(there, lock):
            raise BlocksError(
                "lock",
                str(path),
                f"it is there and differs: {_told(found)}",
                "a new name, or the same lock",
                "give another --name, or replace it with --replace",
            )
        return path, False
    write_lock(lock, path)
    return path, True


def _told(found: Sequence[LockDifference]) -> str:
    told = "; ".join(map(str, found[:3]))
    return f"{told}; and {len(found) - 3} more" if len(found) > 3 else told
