"""The files that define schedules: ``pipelines/schedules/NAME.toml``."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tfhub_blocks.control.project.profiles import Profile, load_profile, refuse_secrets
from tfhub_blocks.control.project.triggers import Recurrence, Trigger, make_trigger
from tfhub_blocks.control.repository.catalog import installed_folder
from tfhub_blocks.records.base.documents import read_document
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.project_folders import project_folder

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ScheduleFile:
    """The content of ``pipelines/schedules/NAME.toml``: a pipeline, its trigger and its inputs.

    ``pipeline`` is the name of a pipeline or of a release. ``profile`` is the name of a profile.
    ``time_zone`` is an IANA name, such as Europe/Berlin. The trigger is either ``cron``, five
    fields as cron writes them, or the table ``recurrence``. ``description`` is one sentence for
    people. ``inputs`` sets inputs of the pipeline, in the syntax of ``--set``. ``register`` maps an
    output to the name of the asset that it becomes.
    """

    pipeline: str
    profile: str
    time_zone: str
    cron: str | None = None
    recurrence: Recurrence | None = None
    description: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    register: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScheduleDefinition:
    """A schedule that is defined in the project."""

    name: str
    file: ScheduleFile
    trigger: Trigger
    profile: Profile


def schedule_files() -> dict[str, Path]:
    """Return each schedule's file by name; one in the working folder hides an installed one."""
    folders = (installed_folder("pipelines"), project_folder() / "pipelines")
    paths = [path for folder in folders for path in sorted(folder.glob("schedules/*.toml"))]
    return {path.stem: path for path in paths}


def named_profiles(names: Iterable[str]) -> set[str]:
    """Return the profiles that some schedules name, or all; unreadable files name none."""
    wanted, found = set(names), set[str]()
    for name, path in schedule_files().items():
        if not wanted or name in wanted:
            with suppress(BlocksError):
                found.add(read_document(path, ScheduleFile, FORMAT_VERSION).profile)
    return found


def read_definition(name: str) -> ScheduleDefinition:
    """Read a schedule that is defined in the project.

    Raises:
        BlocksError: No schedule has that name, or its file has an error.
    """
    known = schedule_files()
    if name not in known:
        raise BlocksError(
            "schedule",
            name,
            f"schedule {name!r} is not defined in this project",
            "one of " + ", ".join(known) if known else "",
            nearest(name, known) or f"Define the schedule in pipelines/schedules/{name}.toml",
        )
    file = read_document(known[name], ScheduleFile, FORMAT_VERSION)
    refuse_secrets("schedule", known[name])
    trigger = make_trigger(str(known[name]), file.time_zone, file.cron, file.recurrence)
    return ScheduleDefinition(name, file, trigger, load_profile(file.profile))
