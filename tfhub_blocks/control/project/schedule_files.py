"""The files that define schedules: ``pipelines/schedules/NAME.toml``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tfhub_blocks.control.project.profiles import Profile, load_profile
from tfhub_blocks.control.project.triggers import Recurrence, Trigger, make_trigger
from tfhub_blocks.control.repository.catalog import installed_folder
from tfhub_blocks.records.base.documents import read_document
from tfhub_blocks.records.base.errors import BlocksError, nearest

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ScheduleFile:
    """``pipelines/schedules/NAME.toml``: what runs when, and with what."""

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
    """A schedule as it is defined here."""

    name: str
    file: ScheduleFile
    trigger: Trigger
    profile: Profile


def schedule_files() -> dict[str, Path]:
    """Each schedule's file by name; one in the working folder hides an installed one."""
    folders = (installed_folder("pipelines"), Path.cwd() / "pipelines")
    paths = [path for folder in folders for path in sorted(folder.glob("schedules/*.toml"))]
    return {path.stem: path for path in paths}


def read_definition(name: str) -> ScheduleDefinition:
    """A schedule that is defined here.

    Raises:
        BlocksError: There is none of that name, or something in it is wrong.
    """
    known = schedule_files()
    if name not in known:
        raise BlocksError(
            "schedule",
            name,
            "there is no such schedule here",
            "one of " + ", ".join(known) if known else "pipelines/schedules/NAME.toml",
            nearest(name, known) or "write its file",
        )
    file = read_document(known[name], ScheduleFile, FORMAT_VERSION)
    trigger = make_trigger(str(known[name]), file.time_zone, file.cron, file.recurrence)
    return ScheduleDefinition(name, file, trigger, load_profile(file.profile))
