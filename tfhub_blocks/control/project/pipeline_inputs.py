"""The declared inputs of a pipeline function, also of one without types."""

# decision 101

import copy
from collections.abc import Iterator, Mapping
from inspect import Parameter, signature
from typing import Any

from azure.ai.ml import Input
from azure.ai.ml.entities._inputs_outputs import _get_param_with_standard_annotation

from tfhub_blocks.control.project.pipeline_building import building
from tfhub_blocks.control.repository.catalog import DATA_TYPES
from tfhub_blocks.records.base.errors import BlocksError

_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}
# The type of an input that feeds no step: its value decides.
UNKNOWN = "unknown"


def function_ports(function: Any, name: str) -> Mapping[str, Any]:
    """Return the inputs of a ``@dsl.pipeline`` function, by name, as ``Input`` objects.

    Raises:
        BlocksError: An annotation is not a type of Azure ML, or the function contains mistakes.
    """
    wrapped = function.__wrapped__
    plain = tuple(function._pipeline_builder.non_pipeline_parameter_names)
    with building(name):
        declared = _get_param_with_standard_annotation(
            wrapped, is_func=True, skip_params=list(plain)
        )
    parameters = signature(wrapped).parameters
    ports = {
        key: _plain_port(parameters[key]) if key in plain else declared[key]
        for key in parameters
        if key in plain or key in declared
    }
    for key, port in ports.items():
        if not isinstance(port, Input):
            raise BlocksError(
                "pipelines",
                f"{name}.{key}",
                f"input {key} is a group of inputs",
                "inputs of single values",
                f"Declare each value of {key} as an input of its own",
            )
    untyped = [key for key, port in ports.items() if _is_untyped(port)]
    if untyped:
        fed = _fed_ports(function, name, ports)
        ports |= {key: _typed(ports[key], parameters[key], fed.get(key)) for key in untyped}
    return ports


def job_ports(job: Any) -> Mapping[str, Any]:
    """Return the inputs of a built job, by name; one without a type is like what it feeds."""
    fed = dict(reversed(list(_bound_ports(job, {}))))
    ports = {}
    for key, port in job.component.inputs.items():
        found = copy.copy(fed.get(key) if _is_untyped(port) else port) or Input(type="string")
        if _is_untyped(port):
            found.type = found.type if key in fed else UNKNOWN
            found.default, found.optional = None, None
        ports[key] = found
    return ports


def _is_untyped(port: Any) -> bool:
    return port.type in (None, UNKNOWN)


def _plain_port(parameter: Parameter) -> Any:
    """Return the port of an input that is a plain value of Python."""
    default = None if parameter.default is Parameter.empty else parameter.default
    kind = _TYPES.get(parameter.annotation) or _TYPES.get(type(default)) or "string"
    return Input(type=kind, default=default, optional=parameter.default is None)


def _typed(port: Any, parameter: Parameter, fed: Any) -> Any:
    """Return a port without a type as the port of the step that it feeds."""
    found = copy.copy(fed) if fed is not None else Input(type="string")
    if fed is None:
        found.type = UNKNOWN
    if fed is None or not port.description:
        found.description = port.description or getattr(fed, "description", None)
    if parameter.default is not Parameter.empty and parameter.default is not None:
        found.default = parameter.default
    elif parameter.default is None:
        found.default, found.optional = None, True
    else:
        # As in Azure ML: the caller passes it, whatever the step would take without it.
        found.default, found.optional = None, None
    return found


def _fed_ports(function: Any, name: str, ports: Mapping[str, Any]) -> dict[str, Any]:
    """Return the port of a step that each input feeds, from a job with stand-ins as values."""
    values = {key: _stand_in(key, port) for key, port in ports.items() if port.default is None}
    with building(name):
        job = function(**values)
        return dict(reversed(list(_bound_ports(job, {}))))


def _stand_in(key: str, port: Any) -> Any:
    if port.type in DATA_TYPES:
        return Input(type=port.type, path=f"/{key}")
    numbers = {"integer": port.min or 1, "number": port.min or 1.0, "boolean": False}
    return numbers.get(port.type, port.enum[0] if port.enum else key)


def _bound_ports(owner: Any, outer: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Yield each input of a pipeline with the port of a step that it feeds.

    Args:
        owner: The job or the inner pipeline.
        outer: The input of the outermost pipeline behind each input of an inner one.
    """
    for node in owner.jobs.values():
        component: Any = getattr(node, "component", None)
        passed = {}
        for port, value in getattr(node, "inputs", {}).items():
            binding = getattr(value._data, "_data_binding", None)
            text = str(binding() if binding is not None else value._data)
            if text.startswith("${{parent.inputs."):
                key = text.removeprefix("${{parent.inputs.").removesuffix("}}")
                passed[port] = outer.get(key, key) if outer else key
        if hasattr(component, "jobs"):
            yield from _bound_ports(component, passed)
            continue
        for port, key in passed.items():
            if hasattr(component, "inputs") and port in component.inputs:
                yield key, component.inputs[port]
