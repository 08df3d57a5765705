"""Schedules of pipelines, defined by files of the repository and applied to the workspace."""

# decision 64

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azure.ai.ml.entities import JobSchedule, UserIdentityConfiguration

from tfhub_blocks.control.jobs.submission import Prepared, SubmissionRequest, prepare
from tfhub_blocks.control.project.assets import DIGEST_TAG
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_requests import pipeline_ports
from tfhub_blocks.control.project.schedule_files import ScheduleDefinition
from tfhub_blocks.control.project.step_graph import TRIGGER_TIME
from tfhub_blocks.control.project.tags import OPEN_TAG
from tfhub_blocks.control.project.triggers import Trigger
from tfhub_blocks.control.releases.release_names import find_lock
from tfhub_blocks.control.releases.release_replay import read_release
from tfhub_blocks.control.releases.rule_standing import check_rules
from tfhub_blocks.control.repository.catalog import DATA_TYPES, MODEL_TYPES, pipeline_files
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.intents import intent
from tfhub_blocks.control.workspace.owners import check_owner, owner_in
from tfhub_blocks.control.workspace.patience import again_on_conflict
from tfhub_blocks.control.workspace.uploads import PREFIX
from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.errors import BlocksError

# An input of this name gets the time at which the schedule fired.
TRIGGER_TIME_INPUT = "trigger_time"


def apply(connection: Connection, definition: ScheduleDefinition) -> tuple[str, tuple[str, ...]]:
    """Create or update the workspace's schedule as it is defined.

    Returns:
        "created", "changed" or "up to date", and the versions that the schedule has frozen.

    Raises:
        BlocksError: An asset is not published, the schedule belongs to another owner, or Azure
            refused a request.
    """
    prepared = prepare(connection, schedule_request(definition), definition.profile)
    text = definition.file.description
    return bring(
        connection, definition.name, prepared, definition.trigger, definition.profile, text
    )


def bring(
    connection: Connection,
    name: str,
    prepared: Prepared,
    trigger: Trigger,
    profile: Profile,
    description: str,
) -> tuple[str, tuple[str, ...]]:
    """Create or update a schedule of a prepared job, as ``apply`` does.

    Returns:
        "created", "changed" or "up to date", and the versions that the schedule has frozen.

    Raises:
        BlocksError: The schedule belongs to another owner, or Azure refused a request.
    """
    digest = record_digest({"job": prepared.digest, "trigger": repr(trigger)})
    found = _get(connection, name)
    check_owner("schedule apply", f"schedule {name}", found, owner_in(profile))
    if found is not None and (found.tags or {}).get(DIGEST_TAG) == digest:
        return "up to date", frozen_versions(found.create_job)
    schedule = JobSchedule(
        name=name,
        trigger=trigger.entity(),
        create_job=prepared.with_outputs(None),
        description=description,
        tags=prepared.job.tags | {DIGEST_TAG: digest},
    )
    with told("schedule", name):
        operations = connection.client.schedules
        made = again_on_conflict(lambda: operations.begin_create_or_update(schedule).result())
    return "created" if found is None else "changed", frozen_versions(made.create_job)


def schedule_request(definition: ScheduleDefinition) -> SubmissionRequest:
    """Return the request that each firing of a schedule submits: a pipeline, or a release.

    Raises:
        BlocksError: An input is a local path instead of a data asset; or the schedule names a
            release and sets inputs or outputs too, or ``submit`` would refuse the release.
    """
    file, profile = definition.file, definition.profile
    path = None if file.pipeline in pipeline_files() else find_lock(file.pipeline)
    if path is None:
        return SubmissionRequest(file.pipeline, settings(definition), file.register)
    for table, values in (("inputs", file.inputs), ("register", file.register)):
        if values:
            raise BlocksError(
                "schedule",
                f"{definition.name} > {table}",
                f"release {file.pipeline} sets every input and output already",
                f"a schedule of a release without a table [{table}]",
                f"Remove [{table}] from pipelines/schedules/{definition.name}.toml",
            )
    lock = read_release(path, profile)
    if profile.takes == "locks":
        check_rules(lock, profile)
    return SubmissionRequest.of_lock(lock)


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
        if getattr(value, "path", None) and not str(value.path).endswith(f"/paths/{PREFIX}")
    )
    named = {f"{kind} {_short_id(text)}" for kind, text in (*components, *inputs)}
    opened = (job.tags or {}).get(OPEN_TAG)
    return tuple(sorted(named | ({f"data {opened}"} if opened else set())))


def job_identity(schedule: Any) -> str:
    """Return in words whose identity the jobs of a schedule have."""
    context = schedule.creation_context
    found = []
    for node in (schedule.create_job.jobs or {}).values():
        identity = getattr(node, "identity", None)
        if isinstance(identity, UserIdentityConfiguration):
            found.append(f"user {(context and context.created_by) or 'unknown'}")
        elif client := getattr(identity, "client_id", None):
            found.append(f"managed identity {client}")
        elif identity is not None:
            found.append("managed identity of the cluster")
        else:
            found.append("no identity of their own: the cluster's, or the keys of the datastores")
    return ", ".join(sorted(set(found)))


def _short_id(text: str) -> str:
    """Return a full id in the form ``NAME:VERSION``."""
    head, versions, version = text.rpartition("/versions/")
    return f"{head.rpartition('/')[2]}:{version}" if versions else text.removeprefix("azureml:")


def pause(connection: Connection, name: str, owner: str) -> None:
    """Stop a schedule from starting jobs until it is resumed.

    Raises:
        BlocksError: The schedule does not exist or belongs to another owner, or Azure refused the
            request.
    """
    _require(connection, name, owner)
    with told("schedule", name):
        again_on_conflict(lambda: connection.client.schedules.begin_disable(name).result())


def resume(connection: Connection, name: str, owner: str) -> None:
    """Let a paused schedule start jobs again.

    Raises:
        BlocksError: The schedule does not exist or belongs to another owner, or Azure refused the
            request.
    """
    _require(connection, name, owner)
    with told("schedule", name):
        again_on_conflict(lambda: connection.client.schedules.begin_enable(name).result())


def trigger(connection: Connection, name: str, folder: Path, owner: str) -> str:
    """Start one job of a schedule now, and return the job's name.

    A call that is repeated after a failure returns the same job (see ``intent``).

    Raises:
        BlocksError: The schedule does not exist or belongs to another owner, or Azure refused the
            request.
    """
    _require(connection, name, owner)
    now = datetime.now(UTC).replace(microsecond=0).isoformat()
    with intent(folder, f"trigger-{name}", now) as (when, _), told("schedule", name):
        result = connection.client.schedules.trigger(name, schedule_time=when)
        return str(result.job_name)


def delete(connection: Connection, name: str, owner: str) -> bool:
    """Delete a schedule, and return True if it existed. Its jobs stay.

    Raises:
        BlocksError: The schedule belongs to another owner, or Azure refused the request.
    """
    found = _get(connection, name)
    if found is None:
        return False
    check_owner("schedule", f"schedule {name}", found, owner)
    operations = connection.client.schedules
    with told("schedule", name):
        if found.is_enabled:  # Azure does not delete an enabled schedule
            again_on_conflict(lambda: operations.begin_disable(name).result())
        again_on_conflict(lambda: operations.begin_delete(name).result())
    return True


def _get(connection: Connection, name: str) -> Any:
    return find("schedule", name, connection.client.schedules.get, name)


def _require(connection: Connection, name: str, owner: str) -> None:
    found = _get(connection, name)
    check_owner("schedule", f"schedule {name}", found, owner)
    if found is None:
        raise BlocksError(
            "schedule",
            name,
            f"workspace {connection.name} has no schedule {name!r}",
            "a schedule that `tfhub-blocks schedule list` shows",
            f"Run `tfhub-blocks schedule apply {name}`",
        )
