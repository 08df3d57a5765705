"""The schedules that use something, among those of the project and those of a workspace."""

# decision 65

from collections.abc import Iterator

from tfhub_blocks.control.lineage.uses import data_version_of
from tfhub_blocks.control.lineage.withdrawn_outputs import in_lock
from tfhub_blocks.control.project.schedule_files import FORMAT_VERSION, ScheduleFile, schedule_files
from tfhub_blocks.control.releases.release_names import lock_files
from tfhub_blocks.control.schedules.workspace_schedules import frozen_versions
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.documents import read_document
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.releases import read_lock
from tfhub_blocks.records.formats.withdrawn import Withdrawn


def affected_locks(uses: Withdrawn) -> Iterator[str]:
    """Yield the names of the project's release locks that contain something."""
    for path in lock_files().values():
        try:
            lock = read_lock(path)
        except BlocksError:
            continue  # submit reports it
        if next(in_lock(lock, uses), None):
            yield lock.name


def affected_files(uses: Withdrawn, locks: set[str]) -> Iterator[str]:
    """Yield the names of the project's schedules with such an input, or with one of some locks."""
    for name, path in sorted(schedule_files().items()):
        try:
            file = read_document(path, ScheduleFile, FORMAT_VERSION)
        except BlocksError:
            continue  # schedule apply reports it
        versions = filter(None, map(data_version_of, file.inputs.values()))
        if file.pipeline in locks or any(uses.of_version(*version) for version in versions):
            yield name


def affected_schedules(connection: Connection, uses: Withdrawn) -> Iterator[str]:
    """Yield the names of the workspace's schedules whose jobs have something as an input.

    Raises:
        BlocksError: Azure refused a request.
    """
    with told("lineage", "schedules"):
        found = sorted(connection.client.schedules.list(), key=lambda it: str(it.name))
    for it in found:
        for text in frozen_versions(it.create_job):
            kind, _, asset = text.partition(" ")
            name, _, version = asset.rpartition(":")
            if kind in ("data", "model") and uses.of_version(name, version):
                yield str(it.name)
                break
