"""From a request on the command line to the graph that an engine runs."""

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
from tfhub_blocks.control.project.step_graph import Graph, read_graph
from tfhub_blocks.control.repository.catalog import DATA_TYPES, load_pipeline, parse_settings


@dataclass(frozen=True)
class NotGiven:
    """What a graph holds for an input of its pipeline that nobody has named yet."""

    name: str


def pipeline_ports(name: str) -> Mapping[str, Any]:
    """The declared inputs of a pipeline, by name, as azure-ai-ml ``Input`` objects.

    An input declared as ``epochs: int = 3`` counts as well.
    """
    ports: Mapping[str, Any] = _get_param_with_standard_annotation(
        load_pipeline(name).__wrapped__, is_func=True
    )
    return ports


def prepare_job(
    name: str, settings: Iterable[str], profile: Profile
) -> tuple[Any, Graph, dict[str, Any]]:
    """The ``PipelineJob`` of a pipeline with its inputs set, its graph, and these inputs.

    Raises:
        BlocksError: The pipeline, an input or a value is not as it must be.
    """
    ports = pipeline_ports(name)
    given = parse_settings(
        settings, ports, profile.inputs, name, remote=profile.engine == "azureml"
    )
    job = _build(name, ports, given)
    if profile.environments:
        move_steps(job, profile.environments)
    return job, read_graph(job, name, given), given


def draft_graph(name: str) -> Graph:
    """The graph of a pipeline whose data inputs are not known yet, to look at."""
    ports = pipeline_ports(name)
    lacking = _placeholders(ports, {})
    return read_graph(_build(name, ports, lacking), name, lacking)


def prepare_draft(
    name: str, settings: Iterable[str], profile: Profile
) -> tuple[Any, Graph, dict[str, Any]]:
    """As ``prepare_job``, of a request that may lack inputs: the graph holds NotGiven for those.

    Raises:
        BlocksError: As ``prepare_job``, but for an input that is missing.
    """
    ports = pipeline_ports(name)
    remote = profile.engine == "azureml"
    given = parse_settings(settings, ports, profile.inputs, name, remote, whole=False)
    lacking = _placeholders(ports, given)
    job = _build(name, ports, given | lacking)
    if profile.environments:
        move_steps(job, profile.environments)
    return job, read_graph(job, name, given | {key: NotGiven(key) for key in lacking}), given


def _placeholders(ports: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Something for each input that is not given and has to be, or is data."""
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
    """Undo what azure-ai-ml writes of a node's resources into its component: it is another's then.

    The component as such, by whose digest it was published, says nothing of where it runs.
    """
    package = import_module("tfhub_blocks.components")
    steps = [it for it in vars(package).values() if isinstance(it, CommandComponent)]
    before = [copy.deepcopy(step.resources) for step in steps]
    try:
        yield
    finally:
        for step, resources in zip(steps, before, strict=True):
            step.resources = resources
