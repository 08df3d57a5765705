"""From a request on the command line to the graph that an engine runs."""

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from azure.ai.ml import Input

from tfhub_blocks.control.catalog import DATA_TYPES, load_pipeline, parse_settings
from tfhub_blocks.control.graphs import Graph, read_graph
from tfhub_blocks.control.profiles import Profile


def pipeline_ports(name: str) -> Mapping[str, Any]:
    """The declared inputs of a pipeline, by name, as azure-ai-ml ``Input`` objects."""
    parameters = inspect.signature(load_pipeline(name)).parameters
    return {key: parameter.annotation for key, parameter in parameters.items()}


def prepare_run(
    name: str, settings: Iterable[str], profile: Profile
) -> tuple[Graph, dict[str, Any]]:
    """The graph of a pipeline with its inputs set, and these inputs.

    Raises:
        BlocksError: The pipeline, an input or a value is not as it must be.
    """
    ports = pipeline_ports(name)
    given = parse_settings(settings, ports, profile.inputs, name)
    return _build(name, ports, given), given


def draft_graph(name: str) -> Graph:
    """The graph of a pipeline whose data inputs are not known yet, to look at."""
    ports = pipeline_ports(name)
    given = {
        key: Path("/") / key if port.type in DATA_TYPES else key
        for key, port in ports.items()
        if port.default is None and not (port.optional and port.type not in DATA_TYPES)
    }
    return _build(name, ports, given)


def _build(name: str, ports: Mapping[str, Any], given: Mapping[str, Any]) -> Graph:
    job = load_pipeline(name)(
        **{
            key: Input(type=ports[key].type, path=str(value)) if isinstance(value, Path) else value
            for key, value in given.items()
        }
    )
    return read_graph(job, name, given)
