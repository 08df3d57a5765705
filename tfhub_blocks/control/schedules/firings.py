"""Schedules in the workspace: their frozen versions, and their started, failed and missed jobs."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tfhub_blocks.control.project.job_furnishing import PIPELINE_TAG
from tfhub_blocks.control.project.profiles import read_profile
from tfhub_blocks.control.project.schedule_files import read_definition, schedule_files
from tfhub_blocks.control.project.tags import PROFILE_TAG, REAP_STEP
from tfhub_blocks.control.project.triggers import Trigger
from tfhub_blocks.control.schedules.reap_schedule import reap_trigger
from tfhub_blocks.control.schedules.workspace_schedules import frozen_versions, job_identity
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError

# The period that is searched for missed firings, and the permitted delay of a firing.
LOOKED_BACK = timedelta(days=7)
GRACE = timedelta(minutes=10)


@dataclass(frozen=True)
class Firing:
    """A time at which a schedule started a job, or should have; then ``job`` is empty."""

    time: datetime
    job: str
    status: str


@dataclass(frozen=True)
class Scheduled:
    """A schedule in the workspace.

    ``versions`` are the assets that its jobs use, frozen when the schedule was applied. ``firings``
    are those of the last week, the newest first, with the missed ones if the project defines it.
    ``identity`` states, in words, who reads and writes the data of its jobs.
    """

    name: str
    is_enabled: bool
    is_defined: bool
    versions: tuple[str, ...]
    firings: tuple[Firing, ...]
    identity: str


def scheduled(connection: Connection, now: datetime) -> Iterator[Scheduled]:
    """Yield the schedules in the workspace, with their frozen versions and their firings.

    Raises:
        BlocksError: The workspace did not answer.
    """
    known = schedule_files()
    with told("schedule", "list"):
        found = list(connection.client.schedules.list())
    for schedule in sorted(found, key=lambda schedule: str(schedule.name)):
        defined = _defined_trigger(schedule, known)
        made = schedule.creation_context.last_modified_at or schedule.creation_context.created_at
        with told("schedule", schedule.name):
            jobs = list(connection.client.jobs.list(scheduled_job_name=schedule.name))
        fired = [_firing(schedule.name, job) for job in jobs]
        missed = (
            _missed(defined, fired, max(made, now - LOOKED_BACK), now)
            if defined is not None and schedule.is_enabled
            else []
        )
        newest = sorted([*fired, *missed], key=lambda firing: firing.time, reverse=True)
        yield Scheduled(
            schedule.name,
            bool(schedule.is_enabled),
            defined is not None,
            frozen_versions(schedule.create_job),
            tuple(firing for firing in newest if firing.time > now - LOOKED_BACK),
            job_identity(schedule),
        )


def _defined_trigger(schedule: Any, known: Collection[str]) -> Trigger | None:
    """Return when the project lets a schedule fire; None for a schedule that is not its own."""
    if schedule.name in known:
        return read_definition(schedule.name).trigger
    tags = schedule.tags or {}
    if tags.get(PIPELINE_TAG) != REAP_STEP:
        return None
    with suppress(BlocksError):  # the schedule was installed from a profile of another project
        return reap_trigger(read_profile(str(tags.get(PROFILE_TAG, ""))))
    return None


def _firing(schedule: str, job: Any) -> Firing:
    stamp = job.name.removeprefix(f"{schedule}-")
    try:
        when = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        when = job.creation_context.created_at
    return Firing(when, job.name, str(getattr(job.status, "value", job.status)))


def _missed(
    trigger: Trigger, fired: list[Firing], after: datetime, now: datetime
) -> Iterator[Firing]:
    for when in trigger.times(after, now - GRACE):
        if not any(abs(firing.time - when) <= GRACE for firing in fired):
            yield Firing(when, "", "Missed")
