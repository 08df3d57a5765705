"""The fields that a profile adds to the job of a release, pinned in its lock and checked again."""

# decision 62

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from tfhub_blocks.control.project.job_furnishing import Furnishing, furnish_job
from tfhub_blocks.control.project.profiles import Profile, profile_files, read_profile
from tfhub_blocks.control.project.run_requests import prepare_job
from tfhub_blocks.control.releases.job_forms import JobForm, changes, sent_form
from tfhub_blocks.control.releases.lock_differences import LockDifference, profile_differences
from tfhub_blocks.control.releases.release_names import replay_settings
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.releases import LockedProfile, ReleaseLock

_TOLD = 5


def locked_profiles(lock: ReleaseLock) -> dict[str, LockedProfile]:
    """Return the fields that each profile adds that accepts only locks, by the profile's name.

    A profile that cannot run the pipeline, for example because it lacks a role, is left out.
    """
    return {profile.name: added for profile, added in _locked_profiles(lock)}


def _locked_profiles(lock: ReleaseLock) -> Iterator[tuple[Profile, LockedProfile]]:
    for name in sorted(profile_files()):
        with suppress(BlocksError):
            profile = read_profile(name)
            if profile.takes != "locks" or profile.job is None:
                continue
            # The inputs come from the lock, and not from the profile.
            bare = replace(profile, inputs={})
            job, graph, _ = prepare_job(lock.pipeline, replay_settings(lock), bare)
            furnish_job(job, graph, Furnishing(lock.pipeline, profile, profile.job))
            yield profile, _added(lock, sent_form(job, "lock"))


def check_sent(lock: ReleaseLock, job: Any, profile: Profile) -> None:
    """Check that a job that is ready to be sent has exactly the inputs and fields in its lock.

    The fields of a profile that accepts other requests too are not compared: it is for trials.

    Raises:
        BlocksError: The lock does not contain the profile, or a field differs; each is named.
    """
    if found := list(_input_differences(lock, job)):
        raise _differs(lock, profile, found)
    if profile.takes != "locks":
        return
    locked = (lock.profiles or {}).get(profile.name)
    if locked is None:
        raise BlocksError(
            "submit",
            f"release {lock.name} > profiles.{profile.name}",
            f"release {lock.name} does not pin the job under profile {profile.name}",
            "one of " + ", ".join(lock.profiles) if lock.profiles else "",
            "Write the lock again with `tfhub-blocks lock --replace`, because it is older than the"
            " profile",
        )
    now = _added(lock, sent_form(job, "submit"))
    if found := profile_differences(profile.name, locked, now):
        raise _differs(lock, profile, found)


def _added(lock: ReleaseLock, sent: JobForm) -> LockedProfile:
    """Return the fields of a form that differ from those that the pipeline sets."""
    return LockedProfile(
        changes(lock.job or {}, sent.job),
        {
            name: changes(lock.steps[name].sent or {} if name in lock.steps else {}, node)
            for name, node in sent.nodes.items()
        },
    )


def _input_differences(lock: ReleaseLock, job: Any) -> Iterator[LockDifference]:
    """Yield each input of a job whose value differs from the one in the lock."""
    wanted = {name: it.reference for name, it in lock.given.items()}
    wanted |= {name: str(value) for name, value in lock.inputs.items()}
    found = job._to_rest_object().as_dict()["properties"].get("inputs") or {}
    values = {name: str(it.get("uri", it.get("value"))) for name, it in found.items()}
    for name in sorted({*wanted, *values}):
        if wanted.get(name) != values.get(name):
            yield LockDifference("input", name, wanted.get(name), values.get(name))


def _differs(lock: ReleaseLock, profile: Profile, found: list[LockDifference]) -> BlocksError:
    texts = "; ".join(map(str, found[:_TOLD]))
    if len(found) > _TOLD:
        texts += f"; and {len(found) - _TOLD} more"
    return BlocksError(
        "submit",
        f"release {lock.name}",
        f"the job differs from the lock: {texts}",
        "exactly the fields in the lock",
        f"Restore {profile.path} from commit {lock.commit[:12]}, or write a new lock",
    )
