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

from tfhub_blocks.control.environments.environment_bakes import move_steps
from tfhub_blocks.control.project.job_reading import read_graph
from tfhub_blocks.control.project.node_checks import check_local_data
from tfhub_blocks.control.project.pipeline_building import Building, building
from tfhub_blocks.control.project.pipeline_inputs import function_ports
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.step_graph import Graph, quote_texts, refuse_secrets
from tfhub_blocks.control.repository.catalog import DATA_TYPES, load_pipeline, parse_settings


@dataclass(frozen=True)
class NotGiven:
    """The value in a graph for a pipeline input that has no value yet."""

    name: str


def pipeline_ports(name: str) -> Mapping[str, Any]:
    """Return the declared inputs of a pipeline, by name, as azure-ai-ml ``Input`` objects.

    An input declared as ``epochs: int = 3`` counts as well. An input without a type is like the
    input of the step that it feeds. Inputs that the decorator lists in ``non_pipeline_inputs`` are
    plain values of Python, and count as well.

    Raises:
        BlocksError: The pipeline cannot be loaded, or contains mistakes.
    """
    return function_ports(load_pipeline(name), name)


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
    job, graph = _build(name, ports, given, given, profile)
    return job, graph, given


def read_prepared(
    job: Any,
    name: str,
    given: Mapping[str, Any],
    profile: Profile,
    built: Building | None = None,
) -> Graph:
    """Prepare a job whose inputs are set for the engine of a profile, and return its graph.

    Args:
        job: The azure-ai-ml ``PipelineJob``. Its texts are quoted for Azure ML, so that a job is
            prepared once.
        name: The name of the pipeline.
        given: The inputs of the pipeline by name.
        profile: The profile with the engine, and the environments that the steps run in.
        built: The lines of the nodes, if the job was built from a pipeline function here.

    Raises:
        BlocksError: The job contains mistakes or a credential, or local data is missing.
    """
    if profile.environments:
        move_steps(job, profile.environments)
    graph = read_graph(job, name, given, built)
    refuse_secrets(graph)
    if profile.engine == "azureml":
        quote_texts(job)
    else:
        check_local_data(graph)
    return graph


def draft_graph(name: str) -> Graph:
    """Return the graph of a pipeline for inspection, before its data inputs are known."""
    ports = pipeline_ports(name)
    lacking = _placeholders(ports, {})
    _, graph = _build(name, ports, lacking, {key: NotGiven(key) for key in lacking})
    return graph


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
    told = {**given, **{key: NotGiven(key) for key in lacking}}
    job, graph = _build(name, ports, given | lacking, told, profile)
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


def _build(
    name: str,
    ports: Mapping[str, Any],
    given: Mapping[str, Any],
    told: Mapping[str, Any],
    profile: Profile | None = None,
) -> tuple[Any, Graph]:
    """Return the job of a pipeline and its graph.

    Args:
        name: The name of the pipeline.
        ports: The inputs of the pipeline.
        given: The value or stand-in of each input, to build the job with.
        told: The same for the graph, which may have no value.
        profile: The profile whose environments the steps run in.

    Raises:
        BlocksError: The pipeline contains mistakes. The error contains all of them.
    """
    pipeline = load_pipeline(name)
    with building(name) as built:
        built.is_draft = told is not given
        with _components_unchanged():
            job = pipeline(
                **{
                    key: Input(type=ports[key].type, path=str(value))
                    if ports[key].type in DATA_TYPES
                    else value
                    for key, value in given.items()
                }
            )
        if profile is not None and not built.is_draft:
            graph = read_prepared(job, name, given, profile, built)
        else:
            if profile is not None and profile.environments:
                move_steps(job, profile.environments)
            graph = read_graph(job, name, told, built)
    return job, graph


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
