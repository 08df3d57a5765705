"""The graph of a ``PipelineJob``: its steps, also those of inner pipelines, and its outputs."""

# decisions 71, 100 and 101

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfhub_blocks.control.project.node_checks import check_node, refuse_kinds
from tfhub_blocks.control.project.pipeline_building import Building
from tfhub_blocks.control.project.step_graph import Graph, Node, OutputOf, job_nodes, ordered_nodes
from tfhub_blocks.control.repository.catalog import DATA_TYPES, REMOTE_PREFIXES
from tfhub_blocks.control.repository.faults import raise_all
from tfhub_blocks.records.base import worker_group
from tfhub_blocks.records.base.errors import BlocksError

_BINDING = re.compile(
    r"^\$\{\{parent\.(?:inputs\.([\w.-]+)|jobs\.([\w-]+)\.outputs\.([\w-]+))\}\}$"
)
_OUTPUT_BINDING = re.compile(r"^\$\{\{parent\.outputs\.([\w-]+)\}\}$")

# A tag of a step: its input with the snapshot whose test items must suffice for its thresholds.
_JUDGES_TAG = "judges_by"


@dataclass(frozen=True)
class _Scope:
    """One pipeline of a job: the dictionary and the object of it, and the sources of its inputs."""

    prefix: str
    record: Mapping[str, Any]
    owner: Any
    inputs: Mapping[str, Any]

    def inner(self, name: str, inputs: Mapping[str, Any]) -> "_Scope":
        """Return the scope of an inner pipeline."""
        record, owner = self.record["jobs"][name]["component"], self.owner.jobs[name].component
        return _Scope(f"{self.prefix}{name}.", record, owner, inputs)

    def is_inner(self, name: str) -> bool:
        """Return True if a node is a pipeline whose steps are known here."""
        entry = self.record["jobs"].get(name) or {}
        component = entry.get("component")
        return entry.get("type") == "pipeline" and "jobs" in (
            component if isinstance(component, dict) else {}
        )


def read_graph(
    job: Any, name: str, given: Mapping[str, Any], built: Building | None = None
) -> Graph:
    """Return the graph of a pipeline job.

    Args:
        job: The azure-ai-ml ``PipelineJob``.
        name: The pipeline's name.
        given: The pipeline's inputs by name: paths for data, primitives for the rest.
        built: The lines of the nodes, if the job was built from a pipeline function here.

    Raises:
        BlocksError: A node is not a command step, an input of a node has no valid source, or a
            value does not fit its port. The error contains every such mistake.
    """
    built = built or Building(name)
    if not job.jobs:
        raise BlocksError(
            "pipelines",
            name,
            f"pipeline {name} creates no step",
            "a function that calls at least one step",
            f"Call a step in {name}",
        )
    refuse_kinds(job, built)
    record = job._to_dict()
    _check_resources(job)
    top = _Scope("", record, job, _defaults(record, given))
    nodes: dict[str, Node] = {}
    faults: list[BlocksError] = []
    _read(top, nodes, faults, built)
    raise_all(faults)
    return Graph(name, ordered_nodes(nodes), dict(_outputs(top)))


def lost_outputs(job: Any) -> list[str]:
    """Return the outputs of a job that Azure ML would not fill.

    azure-ai-ml binds an output of a step to one output of the pipeline, and forgets the first name
    if a pipeline returns the output under two.
    """
    record = job._to_dict()
    top = _Scope("", record, job, {})
    return [f"{scope.prefix}{it}" for scope in _scopes(top) for it in _unbound(scope)]


def _scopes(scope: _Scope) -> Iterator[_Scope]:
    yield scope
    for name in scope.record["jobs"]:
        if scope.is_inner(name):
            yield from _scopes(scope.inner(name, {}))


def _unbound(scope: _Scope) -> list[str]:
    bound = dict(_bound_outputs(scope))
    return [name for name in scope.record.get("outputs") or {} if name not in bound]


def _outputs(scope: _Scope) -> Iterator[tuple[str, OutputOf]]:
    """Yield each output of a pipeline with the output of the step that it is."""
    yield from _bound_outputs(scope)
    for name in _unbound(scope):
        # The SDK's own dictionary has lost these, but not the object.
        source = getattr(scope.owner.outputs.get(name), "_binding_output", None)
        if source is not None and source._owner is not None:
            yield name, _output(scope, str(source._owner.name), str(source._port_name))


def _bound_outputs(scope: _Scope) -> Iterator[tuple[str, OutputOf]]:
    for node, entry in scope.record["jobs"].items():
        for port, value in (entry.get("outputs") or {}).items():
            text = value if isinstance(value, str) else (value or {}).get("path", "")
            if match := _OUTPUT_BINDING.match(str(text)):
                yield match[1], _output(scope, node, port)


def _output(scope: _Scope, node: str, port: str) -> OutputOf:
    """Return the step and port behind an output of a node, which may be a pipeline itself."""
    if scope.is_inner(node):
        inner = dict(_outputs(scope.inner(node, {})))
        if port in inner:
            return inner[port]
    return OutputOf(scope.prefix + node, port)


def _read(
    scope: _Scope, nodes: dict[str, Node], faults: list[BlocksError], built: Building
) -> None:
    """Read the steps of a pipeline and of the pipelines in it, and collect the mistakes."""
    for name, entry in scope.record["jobs"].items():
        job_node = scope.owner.jobs[name]
        line = built.line(job_node)
        try:
            if scope.is_inner(name):
                _read(scope.inner(name, _inputs(scope, entry, job_node)), nodes, faults, built)
                continue
            node = _read_node(scope, name, entry, job_node)
            check_node(node, entry["component"], line, built.misspelt, built.is_draft)
            nodes[node.name] = replace(node, line=str(line or ""))
        except BlocksError as error:
            faults += getattr(error, "faults", (error,))


def _inputs(scope: _Scope, entry: Mapping[str, Any], job_node: Any) -> dict[str, Any]:
    """Return the source of each input of a node, or its default; others are absent."""
    ports = entry["component"].get("inputs") or {}
    inputs = {port: spec["default"] for port, spec in ports.items() if "default" in spec}
    for port, source in _sources(scope, entry, job_node).items():
        if source is not None:
            inputs[port] = source
        elif (ports.get(port) or {}).get("optional"):
            inputs.pop(port, None)
    return inputs


def _sources(scope: _Scope, entry: Mapping[str, Any], job_node: Any) -> dict[str, Any]:
    """Return the source of each input that a node is given; None if that has no value."""
    found: dict[str, Any] = {}
    ports = entry["component"].get("inputs") or {}
    for port, value in (entry.get("inputs") or {}).items():
        text = value.get("path") if isinstance(value, dict) else value
        match = _BINDING.match(text) if isinstance(text, str) else None
        if match is None:
            is_data = (ports.get(port) or {}).get("type") in DATA_TYPES
            found[port] = _data_path(text, job_node, port) if is_data else text
        elif match[1] is None:
            found[port] = _output(scope, match[2], match[3])
        elif match[1] in scope.inputs:
            found[port] = scope.inputs[match[1]]
        else:
            found[port] = None
    return found


def _data_path(text: Any, job_node: Any, port: str) -> Any:
    """Return the path of data that a pipeline names itself."""
    if not isinstance(text, str):
        return text
    # The SDK's dictionary takes a bare name for an asset; the object contains the path as written.
    written = str(getattr(getattr(job_node.inputs.get(port), "_data", None), "path", "") or text)
    if written.startswith(REMOTE_PREFIXES):
        return Path(text)
    return Path(written).expanduser().absolute()


def _check_resources(job: Any) -> None:
    """Check that no node shares the resources of another node.

    azure-ai-ml copies the resources of ``set_resources`` from a node into its component, and from
    there into nodes that are created later.
    """
    owners: dict[int, str] = {}
    for name, node in job_nodes(job).items():
        resources = getattr(node, "resources", None)
        if resources is None or resources == getattr(node.component, "resources", None):
            continue
        owner = owners.setdefault(id(resources), name)
        if owner != name:
            raise BlocksError(
                "pipeline",
                f"{name}.resources",
                f"steps {name} and {owner} share one resources object, because azure-ai-ml copies"
                " it after set_resources",
                "separate resources for each step",
                f"Replace {owner}.set_resources(...) in the pipeline with {owner}.resources ="
                ' {"instance_count": ...}',
            )


def _defaults(record: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pipeline's inputs, with the pipeline's own defaults where none was passed."""
    primitives = {
        name: value
        for name, value in record.get("inputs", {}).items()
        if not isinstance(value, dict)
    }
    return primitives | dict(given)


def _registered(entry: Mapping[str, Any], outputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each output of a node that Azure ML registers as an asset, with the asset's name.

    If the output is also an output of the pipeline, the SDK moves the name there.
    """
    for port, value in (entry.get("outputs") or {}).items():
        match = _OUTPUT_BINDING.match(value) if isinstance(value, str) else None
        found = outputs.get(match[1]) if match else value
        if isinstance(found, dict) and found.get("name"):
            yield port, str(found["name"])


def _read_node(scope: _Scope, name: str, entry: Mapping[str, Any], job_node: Any) -> Node:
    component = entry["component"]
    ports = component.get("inputs") or {}
    limits, resources = getattr(job_node, "limits", None), getattr(job_node, "resources", None)
    tags = component.get("tags") or {}
    return Node(
        name=scope.prefix + name,
        component=component["name"],
        version=str(component.get("version", "")),
        role=tags.get("role", "cpu"),
        environment=str(component.get("environment", "")),
        command=component["command"],
        deterministic=component.get("is_deterministic") is not False,
        timeout_s=limits.timeout if limits is not None else None,
        input_types={port: spec["type"] for port, spec in ports.items()},
        output_types={p: s["type"] for p, s in (component.get("outputs") or {}).items()},
        inputs=_inputs(scope, entry, job_node),
        entity=job_node.component,
        shares_work=tags.get(worker_group.TAG) == worker_group.MANY,
        instance_count=resources.instance_count if resources is not None else None,
        registers=dict(_registered(entry, scope.record.get("outputs") or {})),
        services=tuple(str(it.get("type")) for it in (entry.get("services") or {}).values()),
        environment_variables=entry.get("environment_variables") or {},
        judges_by=str(tags.get(_JUDGES_TAG, "")),
    )
