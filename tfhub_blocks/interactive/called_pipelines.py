"""A pipeline that was called in Python: its checked inputs, and its graph."""

from collections.abc import Iterator
from typing import Any

from azure.ai.ml import Input

from tfhub_blocks.control.project.pipeline_building import lines_of
from tfhub_blocks.control.project.pipeline_inputs import job_ports
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_requests import read_prepared
from tfhub_blocks.control.project.step_graph import Graph
from tfhub_blocks.control.repository.catalog import DATA_TYPES, parse_settings
from tfhub_blocks.records.base.errors import BlocksError

_WHERE = "jobs.create_or_update"
# An attribute of a job that a client has taken: its inputs are set and quoted for one engine.
_TAKEN = "_tfhub_blocks_taken"


def read_call(job: Any, profile: Profile) -> tuple[str, Graph, dict[str, Any]]:
    """Return the name, the graph and the inputs of a pipeline that was called in Python.

    The job's inputs are set as an engine sends them.

    Raises:
        BlocksError: The object is not a pipeline, a client has taken it before, or an input is
            missing or does not fit.
    """
    if not hasattr(job, "jobs") or not hasattr(job, "component"):
        raise BlocksError(
            _WHERE,
            type(job).__name__,
            f"{type(job).__name__} is not a pipeline",
            "a @dsl.pipeline function, called with its inputs",
            "Write client.jobs.create_or_update(my_pipeline(source=...))",
        )
    name = str(job.component.name)
    if job.__dict__.get(_TAKEN):
        raise BlocksError(
            _WHERE,
            name,
            f"this call of {name} was passed to create_or_update before",
            "",
            f"Call the pipeline again: create_or_update({name}(...))",
        )
    ports = job_ports(job)
    given = parse_settings(_words(job), ports, profile.inputs, name, profile.engine == "azureml")
    for key, value in given.items():
        is_data = ports[key].type in DATA_TYPES
        value = Input(type=ports[key].type, path=str(value)) if is_data else value
        # The job lacks an input that the caller left out, so it cannot be assigned.
        job.inputs[key] = job._build_input(key, ports[key], value)
    graph = read_prepared(job, name, given, profile, lines_of(job))
    job.__dict__[_TAKEN] = True
    return name, graph, given


def _words(job: Any) -> Iterator[str]:
    """Yield each input that the caller passed, as the command line writes it.

    A pipeline's own default is left out, because the profile's value precedes it.
    """
    built = lines_of(job)
    for name, value in job.inputs.items():
        data = value._data
        text = str(getattr(data, "path", data))
        is_default = (
            text == str(getattr(job.component.inputs.get(name), "default", None))
            if built is None
            else name not in built.passed
        )
        if data is not None and not is_default:
            yield f"{name}={text}"
