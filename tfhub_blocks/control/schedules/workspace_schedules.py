"""Schedules of pipelines, defined by files of the repository and applied to the workspace."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azure.ai.ml.entities import JobSchedule

from tfhub_blocks.control.jobs.submission import SubmissionRequest, prepare
from tfhub_blocks.control.project.assets import DIGEST_TAG
from tfhub_blocks.control.project.run_requests import pipeline_ports
from tfhub_blocks.control.project.schedule_files import ScheduleDefinition
from tfhub_blocks.control.repository.catalog import DATA_TYPES, MODEL_TYPES
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.intents import intent
from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.errors import BlocksError

# An input of this name gets the time at which the schedule fired.
TRIGGER_TIME_INPUT = "trigger_time"
TRIGGER_TIME = "${{creation_context.trigger_time}}"


def apply(connection: Connection, definition: ScheduleDefinition) -> tuple[str, tuple[str, ...]]:
    """Create or update the workspace's schedule as it is defined.

    Returns:
        "created", "changed" or "up to date", and the versions that the schedule has frozen.

    Raises:
        BlocksError: An asset is not published, or Azure refused a request.
    """
    name, file = definition.name, definition.file
    request = SubmissionRequest(file.pipeline, settings(definition), file.register)
    prepared = prepare(connection, request, definition.profile)
    digest = record_digest({"job": prepared.digest, "trigger": repr(definition.trigger)})
    found = _get(connection, name)
    if found is not None and (found.tags or {}).get(DIGEST_TAG) == digest:
        return "up to date", frozen_versions(found.create_job)
    schedule = JobSchedule(
        name=name,
        trigger=definition.trigger.entity(),
        create_job=prepared.with_outputs(None),
        description=file.description,
        tags=prepared.job.tags | {DIGEST_TAG: digest},
    )
    with told("schedule", name):
        made = connection.client.schedules.begin_create_or_update(schedule).result()
    return "created" if found is None else "changed", frozen_versions(made.create_job)


def settings(definition: ScheduleDefinition) -> tuple[str, ...]:
    """Return the inputs of the schedule's jobs, in the syntax of ``--set``.

    Raises:
        BlocksError: An input is a local path instead of a data asset.
    """
    return tuple(f"{key}={text}" for key, text in _inputs(definition).items())


def _inputs(definition: ScheduleDefinition) -> dict[str, str]:
    """Return the inputs from the file, and the trigger time if the pipeline has that input."""
    file, ports = definition.file, pipeline_ports(definition.file.pipeline)
    for key, text in file.inputs.items():
        if key in ports and ports[key].type in DATA_TYPES and not text.startswith("azureml:"):
            raise BlocksError(
                "schedule",
                f"{definition.name} > inputs.{key}",
                f"{text!r} is not a version of a data asset",
                "azureml:NAME:VERSION",
                f"Run `tfhub-blocks publish --data NAME={text}`, and write the version that it"
                " prints",
            )
    given = {TRIGGER_TIME_INPUT: TRIGGER_TIME} if TRIGGER_TIME_INPUT in ports else {}
    return given | dict(file.inputs)


def frozen_versions(job: Any) -> tuple[str, ...]:
    """Return the assets in a schedule's job, each as kind, name and version."""
    components = (("component", str(node.component)) for node in (job.jobs or {}).values())
    given = (getattr(value, "_data", value) for value in (job.inputs or {}).values())
    inputs = (
        ("model" if value.type in MODEL_TYPES else "data", str(value.path))
        for value in given
        if getattr(value, "path", None)
    )
    return tuple(sorted({f"{kind} {_short_id(text)}" for kind, text in (*components, *inputs)}))


def _short_id(text: str) -> str:
    """Return a full id in the form ``NAME:VERSION``."""
    head, versions, version = text.rpartition("/versions/")
    return f"{head.rpartition('/')[2]}:{version}" if versions else text.removeprefix("azureml:")


def pause(connection: Connection, name: str) -> None:
    """Stop a schedule from starting jobs until it is resumed.

    Raises:
        BlocksError: The schedule does not exist, or Azure refused the request.
    """
    _require(connection, name)
    with told("schedule", name):
        connection.client.schedules.begin_disable(name).result()


def resume(connection: Connection, name: str) -> None:
    """Let a paused schedule start jobs again.

    Raises:
        BlocksError: The schedule does not exist, or Azure refused the request.
    """
    _require(connection, name)
    with told("schedule", name):
        connection.client.schedules.begin_enable(name).result()


def trigger(connection: Connection, name: str, folder: Path) -> str:
    """Start one job of a schedule now, and return the job's name.

    A call that is repeated after a failure returns the same job (see ``intent``).

    Raises:
        BlocksError: The schedule does not exist, or Azure refused the request.
    """
    _require(connection, name)
    now = datetime.now(UTC).replace(microsecond=0).isoformat()
    with intent(folder, f"trigger-{name}", now) as (when, _), told("schedule", name):
        result = connection.client.schedules.trigger(name, schedule_time=when)
        return str(result.job_name)


def delete(connection: Connection, name: str) -> bool:
    """Delete a schedule, and return True if it existed. Its jobs stay.

    Raises:
        BlocksError: Azure refused the request.
    """
    found = _get(connection, name)
    if found is None:
        return False
    with told("schedule", name):
        if found.is_enabled:  # Azure does not delete an enabled schedule
            connection.client.schedules.begin_disable(name).result()
        connection.client.schedules.begin_delete(name).result()
    return True


def _get(connection: Connection, name: str) -> Any:
    return find("schedule", name, connection.client.schedules.get, name)


def _require(connection: Connection, name: str) -> None:
    if _get(connection, name) is None:
        raise BlocksError(
            "schedule",
            name,
            f"workspace {connection.name} has no schedule {name!r}",
            "a schedule that `tfhub-blocks schedule list` shows",
            f"Run `tfhub-blocks schedule apply {name}`",
        )
