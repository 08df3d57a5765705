"""A pipeline that was called in Python: its checked inputs, and its graph."""

from collections.abc import Iterator
from typing import Any

from azure.ai.ml import Input

from tfhub_blocks.control.environments.environment_bakes import move_steps
from tfhub_blocks.control.project.job_reading import read_graph
from tfhub_blocks.control.project.node_checks import check_local_data
from tfhub_blocks.control.project.pipeline_building import lines_of
from tfhub_blocks.control.project.pipeline_inputs import job_ports
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.step_graph import Graph, quote_texts, refuse_secrets
from tfhub_blocks.control.repository.catalog import DATA_TYPES, parse_settings
from tfhub_blocks.records.base.errors import BlocksError


def read_call(job: Any, profile: Profile) -> tuple[str, Graph, dict[str, Any]]:
    """Return the name, the graph and the inputs of a pipeline that was called in Python.

    The job's inputs are set as an engine sends them.

    Raises:
        BlocksError: The object is not a pipeline, or an input is missing or does not fit.
    """
    if not hasattr(job, "jobs") or not hasattr(job, "component"):
        raise BlocksError(
            "jobs.create_or_update",
            type(job).__name__,
            f"{type(job).__name__} is not a pipeline",
            "a @dsl.pipeline function, called with its inputs",
            "Write client.jobs.create_or_update(my_pipeline(source=...))",
        )
    name = str(job.component.name)
    remote = profile.engine == "azureml"
    ports = job_ports(job)
    given = parse_settings(_words(job), ports, profile.inputs, name, remote)
    for key, value in given.items():
        is_data = ports[key].type in DATA_TYPES
        value = Input(type=ports[key].type, path=str(value)) if is_data else value
        setattr(job.inputs, key, value)
    if profile.environments:
        move_steps(job, profile.environments)
    graph = read_graph(job, name, given, lines_of(job))
    refuse_secrets(graph)
    if remote:
        quote_texts(job)
    else:
        check_local_data(graph)
    return name, graph, given


def _words(job: Any) -> Iterator[str]:
    """Yield each input of a call as the command line writes it."""
    for name, value in job.inputs.items():
        data = value._data
        if data is not None:
            yield f"{name}={getattr(data, 'path', data)}"
