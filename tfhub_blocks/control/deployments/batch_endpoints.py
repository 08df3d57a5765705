"""Batch endpoints: pipelines that are called with data, on compute that scales to zero."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from azure.ai.ml import Input, Output
from azure.ai.ml.entities import (
    BatchEndpoint,
    PipelineComponent,
    PipelineComponentBatchDeployment,
)

from tfhub_blocks.control.deployments.end_dates import End
from tfhub_blocks.control.deployments.endpoints import WHAT_TAG
from tfhub_blocks.control.deployments.ownership import check_ours, endpoint_tags, is_so
from tfhub_blocks.control.jobs.submission import Prepared, SubmissionRequest, prepare
from tfhub_blocks.control.project.assets import DIGEST_TAG, VERSION_DIGITS
from tfhub_blocks.control.project.profiles import SERVERLESS, Profile
from tfhub_blocks.control.project.run_requests import pipeline_ports
from tfhub_blocks.control.project.step_graph import quoted_text
from tfhub_blocks.control.repository.catalog import DATA_TYPES
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.patience import again_on_conflict, patiently
from tfhub_blocks.records.base.errors import BlocksError

WHERE = "deploy batch"
_NAME_DIGITS = 11


@dataclass(frozen=True)
class BatchRequest:
    """A request to deploy a pipeline behind a batch endpoint, until its end date."""

    endpoint: str
    label: str
    request: SubmissionRequest
    profile: Profile
    end: End


def deploy_batch(
    connection: Connection, asked: BatchRequest, on_change: Callable[[str, str], None]
) -> tuple[str, ...]:
    """Create or update the endpoint with the pipeline as its default deployment.

    All checks of ``submit`` apply, including the budget of a run. A call that is repeated after a
    failure continues where it stopped.

    Args:
        connection: The workspace.
        asked: The request.
        on_change: Called with each item and its new state.

    Returns:
        The inputs that callers may pass.

    Raises:
        BlocksError: An endpoint of that name was not deployed by tfhub-blocks or belongs to another
            owner, a cluster does not scale to zero, or Azure refused a request.
    """
    client, name = connection.client, asked.endpoint
    if asked.request.lock and asked.request.lock.open:
        opened = ", ".join(asked.request.lock.open)
        raise BlocksError(
            WHERE,
            asked.label,
            f"input {opened} of release {asked.request.lock.name} is open",
            "a release without an open input",
            "Write a lock without --open for the endpoint, or name the release in a schedule",
        )
    found = find(WHERE, name, client.batch_endpoints.get, name)
    check_ours(WHERE, name, found, asked.profile)
    prepared = prepare(connection, asked.request, asked.profile)
    # Before the component is sent, because the SDK then writes ids into the nodes.
    computes = _check_scaling(connection, prepared)
    component = _component(asked, prepared)
    tags = endpoint_tags(asked.profile, asked.end)
    label = f"component {component.name}:{component.version}"
    there = find(WHERE, label, client.components.get, component.name, component.version)
    inputs = tuple(component.inputs)
    if there is None:
        with told(WHERE, label):
            there = client.components.create_or_update(component)
        on_change(label, "published")
    else:
        on_change(label, "already exists")
    deployment = f"p{prepared.digest[:_NAME_DIGITS]}"
    on_change(f"endpoint {name}", _bring_endpoint(connection, name, tags, found))
    entity = _deployment(asked, prepared, deployment, there.id, computes[0])
    on_change(f"deployment {deployment}", _bring_deployment(connection, entity, prepared.digest))
    _bring_default(connection, name, deployment)
    return inputs


def _check_scaling(connection: Connection, prepared: Prepared) -> list[str]:
    """Return the compute of each step, after checking that no cluster keeps unused nodes."""
    computes = [str(node.compute) for node in prepared.job.jobs.values()]
    for name in sorted(set(computes) - {SERVERLESS}):
        found = find(WHERE, f"compute {name}", connection.client.compute.get, name)
        least = getattr(found, "min_instances", None)
        if least != 0:
            raise BlocksError(
                WHERE,
                f"compute {name}",
                f"{name} is not a cluster"
                if least is None
                else f"cluster {name} keeps {least} nodes running, which cost money while no step"
                " runs",
                "a cluster that scales to zero",
                "Run `tfhub-blocks compute apply`, or set another compute in the profile",
            )
    return computes


def _component(asked: BatchRequest, prepared: Prepared) -> Any:
    """Return the pipeline as a component: passed values are fixed, and the rest are its inputs."""
    ports = pipeline_ports(asked.request.pipeline)
    whole = prepared.job.component
    given = prepared.given
    if not asked.request.is_open:  # a release leaves unset inputs to the pipeline's defaults
        given = {name: port.default for name, port in ports.items()} | dict(given)
    fixed = {
        name: Input(type=ports[name].type, path=str(value))
        if ports[name].type in DATA_TYPES and value is not None
        else quoted_text(value)
        if isinstance(value, str)
        else value
        for name, value in given.items()
    }
    for node in whole.jobs.values():
        for port, value in node.inputs.items():
            name = _bound_to(value)
            if name in fixed:
                node.inputs[port]._data = fixed[name]
    return PipelineComponent(
        name=f"{asked.request.pipeline}_batch",
        version=prepared.digest[:VERSION_DIGITS],
        display_name=whole.display_name,
        description=whole.description,
        tags={DIGEST_TAG: prepared.digest, WHAT_TAG: asked.label},
        inputs={name: it for name, it in whole.inputs.items() if name not in fixed},
        outputs={name: Output(type=it.type) for name, it in whole.outputs.items()},
        jobs=whole.jobs,
    )


def _bound_to(value: Any) -> str:
    """Return the pipeline input that a node's input is bound to, or an empty text."""
    text = str(getattr(value, "_data", value))
    return (
        text.removeprefix("${{parent.inputs.").removesuffix("}}") if "parent.inputs" in text else ""
    )


def _bring_endpoint(connection: Connection, name: str, tags: dict[str, str], found: Any) -> str:
    if found is not None and tags.items() <= (found.tags or {}).items():
        return "up to date"
    operations = connection.client.batch_endpoints

    def change() -> None:
        current = find(WHERE, name, operations.get, name) or found or BatchEndpoint(name=name)
        current.tags = {**(current.tags or {}), **tags}
        operations.begin_create_or_update(current).result()

    with told(WHERE, f"endpoint {name}"):
        again_on_conflict(change)
    return "created" if found is None else "changed"


def _deployment(
    asked: BatchRequest, prepared: Prepared, name: str, component: str, compute: str
) -> Any:
    settings = prepared.job.settings
    return PipelineComponentBatchDeployment(
        name=name,
        endpoint_name=asked.endpoint,
        component=component,
        settings={
            "default_compute": compute,
            "continue_on_step_failure": str(bool(settings.continue_on_step_failure)),
            "force_rerun": str(bool(settings.force_rerun)),
        },
        # The job's tags, which each job of this deployment inherits.
        tags={
            **{key: str(value) for key, value in prepared.job.tags.items()},
            **endpoint_tags(asked.profile, asked.end),
            WHAT_TAG: asked.label,
            DIGEST_TAG: prepared.digest,
        },
    )


def _bring_deployment(connection: Connection, entity: Any, digest: str) -> str:
    operations, what = connection.client.batch_deployments, f"deployment {entity.name}"
    found = find(WHERE, what, operations.get, entity.name, entity.endpoint_name)
    if is_so(found, digest):
        return "up to date"
    with told(WHERE, what):
        again_on_conflict(lambda: operations.begin_create_or_update(entity).result())
    return "created" if found is None else "changed"


def _bring_default(connection: Connection, name: str, deployment: str) -> None:
    operations = connection.client.batch_endpoints

    def change() -> None:
        endpoint = patiently(lambda: operations.get(name), is_new=True)
        if getattr(endpoint.defaults, "deployment_name", None) != deployment:
            endpoint.defaults = {"deployment_name": deployment}
            operations.begin_create_or_update(endpoint).result()

    with told(WHERE, f"endpoint {name}"):
        again_on_conflict(change)
