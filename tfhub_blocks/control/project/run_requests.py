"""Preparation of a command-line request: from settings to the graph that an engine runs."""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from azure.ai.ml import Input
from azure.ai.ml.entities import CommandComponent
from azure.ai.ml.entities._inputs_outputs import _get_param_with_standard_annotation

from tfhub_blocks.control.environments.environment_bakes import move_steps
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.step_graph import Graph, quote_texts, read_graph, refuse_secrets
from tfhub_blocks.control.repository.catalog import DATA_TYPES, load_pipeline, parse_settings


@dataclass(frozen=True)
class NotGiven:
    """The value in a graph for a pipeline input that has no value yet."""

    name: str


def pipeline_ports(name: str) -> Mapping[str, Any]:
    """Return the declared inputs of a pipeline, by name, as azure-ai-ml ``Input`` objects.

    An input declared as ``epochs: int = 3`` counts as well.
    """
    ports: Mapping[str, Any] = _get_param_with_standard_annotation(
        load_pipeline(name).__wrapped__, is_func=True
    )
    return ports


def prepare_job(
    name: str, settings: Iterable[str], profile: Profile
) -> tuple[Any, Graph, dict[str, Any]]:
    """Return the ``PipelineJob`` of a pipeline with its inputs set, its graph, and these inputs.

    Raises:
        BlocksError: The pipeline, an input or a value is missing or invalid.
    """
    ports = pipeline_ports(name)
    given = parse_settings(
        settings, ports, profile.inputs, name, remote=profile.engine == "azureml"
    )
    job = _build(name, ports, given)
    if profile.environments:
        move_steps(job, profile.environments)
    graph = read_graph(job, name, given)
    refuse_secrets(graph)
    if profile.engine == "azureml":
        quote_texts(job)
    return job, graph, given


def draft_graph(name: str) -> Graph:
    """Return the graph of a pipeline for inspection, before its data inputs are known."""
    ports = pipeline_ports(name)
    lacking = _placeholders(ports, {})
    return read_graph(_build(name, ports, lacking), name, lacking)


def prepare_draft(
    name: str, settings: Iterable[str], profile: Profile
) -> tuple[Any, Graph, dict[str, Any]]:
    """Prepare a job from a request that may lack inputs; the graph contains NotGiven for those.

    Raises:
        BlocksError: The pipeline, an input or a value is invalid. Missing inputs are allowed.
    """
    ports = pipeline_ports(name)
    remote = profile.engine == "azureml"
    given = parse_settings(settings, ports, profile.inputs, name, remote, whole=False)
    lacking = _placeholders(ports, given)
    job = _build(name, ports, given | lacking)
    if profile.environments:
        move_steps(job, profile.environments)
    graph = read_graph(job, name, given | {key: NotGiven(key) for key in lacking})
    if remote:
        quote_texts(job)
    return job, graph, given


def _placeholders(ports: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a placeholder for every missing input that is required or is data."""
    return {
        key: _placeholder(key, port)
        for key, port in ports.items()
        if key not in given
        and port.default is None
        and not (port.optional and port.type not in DATA_TYPES)
    }


def _placeholder(name: str, port: Any) -> Any:
    if port.type in DATA_TYPES:
        return Path("/") / name
    if port.enum:
        return port.enum[0]
    return {"integer": port.min or 0, "number": port.min or 0.0, "boolean": False}.get(
        port.type, name
    )


def _build(name: str, ports: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    pipeline = load_pipeline(name)
    with _components_unchanged():
        return pipeline(
            **{
                key: Input(type=ports[key].type, path=str(value))
                if ports[key].type in DATA_TYPES
                else value
                for key, value in given.items()
            }
        )


@contextmanager
def _components_unchanged() -> Iterator[None]:
    """Restore each component's resources after building a job.

    azure-ai-ml copies a node's resources into its component, which other nodes share. A
    component's published digest does not include where the component runs.
    """
    package = import_module("tfhub_blocks.components")
    steps = [step for step in vars(package).values() if isinstance(step, CommandComponent)]
    before = [copy.deepcopy(step.resources) for step in steps]
    try:
        yield
    finally:
        for step, resources in zip(steps, before, strict=True):
            step.resources = resources
