"""A ``PipelineJob`` of azure-ai-ml as a graph of steps: what runs, after what, with what."""

import heapq
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfhub_blocks.control.repository.catalog import DATA_TYPES
from tfhub_blocks.records.base import worker_group
from tfhub_blocks.records.base.errors import BlocksError

_BINDING = re.compile(r"^\$\{\{parent\.(?:inputs\.(\w+)|jobs\.(\w+)\.outputs\.(\w+))\}\}$")
_OUTPUT_BINDING = re.compile(r"^\$\{\{parent\.outputs\.(\w+)\}\}$")
_OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]")
_PLACEHOLDER = re.compile(r"\$\{\{(inputs|outputs)\.(\w+)\}\}")
# A tag of a step: the optional port that is of no use without another one, and that one, with a
# space between. The step says so, too; but it may be the last to run.
_NEEDS_TAG = "needs"


@dataclass(frozen=True)
class OutputOf:
    """An input that another step makes."""

    node: str
    port: str


@dataclass(frozen=True)
class Node:
    """One step of a pipeline, with the command and the code that Azure ML would run.

    ``inputs`` holds what each port gets: an OutputOf, the Path of given data, or a primitive;
    an optional port that got nothing is not there. ``shares_work`` says whether it can run on
    several workers, ``instance_count`` on how many the pipeline wants it, if it says that.
    ``registers`` holds the asset's name of each output that becomes one by itself, ``services`` the
    kinds of doors that the pipeline opens into the running step, such as ``ssh``.
    """

    name: str
    component: str
    version: str
    role: str
    environment: str
    command: str
    deterministic: bool
    timeout_s: int | None
    input_types: Mapping[str, str]
    output_types: Mapping[str, str]
    inputs: Mapping[str, Any]
    entity: Any
    shares_work: bool = False
    instance_count: Any = None
    registers: Mapping[str, str] = field(default_factory=dict)
    services: tuple[str, ...] = ()
    environment_variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs(self) -> set[str]:
        """The names of the nodes whose outputs this one takes."""
        return {value.node for value in self.inputs.values() if isinstance(value, OutputOf)}

    def command_line(self, inputs: Mapping[str, Any], outputs: Mapping[str, Path]) -> str:
        """The command with each placeholder filled in, as Azure ML does it."""
        texts = {("inputs", port): self.text(port, value) for port, value in inputs.items()} | {
            ("outputs", port): str(path) for port, path in outputs.items()
        }

        def keep(match: re.Match[str]) -> str:
            wanted = _PLACEHOLDER.findall(match[1])
            return match[1] if all(key in texts for key in wanted) else ""

        def fill(match: re.Match[str]) -> str:
            return texts[match[1], match[2]]

        return _PLACEHOLDER.sub(fill, _OPTIONAL.sub(keep, self.command))

    def text(self, port: str, value: Any) -> str:
        """What a port gets, as Azure ML puts it into a command line."""
        # The SDK's dictionary holds a boolean as 1 or 0.
        boolean = self.input_types[port] == "boolean" and isinstance(value, int)
        return str(bool(value) if boolean else value)

    def write_code(self, folder: Path) -> None:
        """Copy the code snapshot, as it would be uploaded, into a folder that is not there yet."""
        with self.entity._build_code() as code:
            shutil.copytree(code.path, folder, ignore=shutil.ignore_patterns("__pycache__"))


@dataclass(frozen=True)
class Graph:
    """The steps of a pipeline in an order that respects what each needs, and its outputs."""

    name: str
    nodes: Mapping[str, Node]
    outputs: Mapping[str, OutputOf]

    def edges(self) -> Iterator[tuple[str, str, str]]:
        """Each (maker, port, user) of the graph."""
        for node in self.nodes.values():
            for value in node.inputs.values():
                if isinstance(value, OutputOf):
                    yield value.node, value.port, node.name


def told_inputs(node: Node) -> dict[str, dict[str, str]]:
    """What each port of a node gets, as the record of a run keeps it."""
    told: dict[str, dict[str, str]] = {}
    for port, value in node.inputs.items():
        if isinstance(value, OutputOf):
            told[port] = {"step": value.node, "port": value.port}
        elif isinstance(value, Path):
            told[port] = {"path": str(value)}
        else:
            told[port] = {"value": node.text(port, value)}
    return told


def read_graph(job: Any, name: str, given: Mapping[str, Any]) -> Graph:
    """The graph of a pipeline job.

    Args:
        job: The azure-ai-ml ``PipelineJob``.
        name: The pipeline's name.
        given: The pipeline's inputs by name: paths for data, primitives for the rest.

    Raises:
        BlocksError: A node is no command step, or takes what nothing gives.
    """
    record = job._to_dict()
    _check_resources(job)
    given = _defaults(record, given)
    nodes: dict[str, Node] = {}
    outputs: dict[str, OutputOf] = {}
    for node, entry in record["jobs"].items():
        nodes[node] = _read_node(node, entry, job.jobs[node], given, record.get("outputs") or {})
        for port, value in (entry.get("outputs") or {}).items():
            text = value if isinstance(value, str) else (value or {}).get("path", "")
            if match := _OUTPUT_BINDING.match(str(text)):
                outputs[match[1]] = OutputOf(node, port)
    return Graph(name, _ordered(nodes), outputs)


def _check_resources(job: Any) -> None:
    """See that no node has the resources that another one was given.

    What ``set_resources`` sets in a node, azure-ai-ml puts into its component as well, and from
    there into nodes that are made later.
    """
    owners: dict[int, str] = {}
    for name, node in job.jobs.items():
        resources = getattr(node, "resources", None)
        if resources is None or resources == getattr(node.component, "resources", None):
            continue
        owner = owners.setdefault(id(resources), name)
        if owner != name:
            raise BlocksError(
                "pipeline",
                f"{name}.resources",
                f"it is that of {owner} as well, which azure-ai-ml does after set_resources",
                "resources of its own",
                'write NODE.resources = {"instance_count": ...} in the pipeline instead',
            )


def _defaults(record: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The given inputs, and the pipeline's own defaults for the rest."""
    primitives = {
        name: value
        for name, value in record.get("inputs", {}).items()
        if not isinstance(value, dict)
    }
    return primitives | dict(given)


def _registered(entry: Mapping[str, Any], outputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each output of a node that becomes an asset by itself, and the asset's name.

    Of one that is the pipeline's as well, the SDK has put the name there.
    """
    for port, value in (entry.get("outputs") or {}).items():
        match = _OUTPUT_BINDING.match(value) if isinstance(value, str) else None
        found = outputs.get(match[1]) if match else value
        if isinstance(found, dict) and found.get("name"):
            yield port, str(found["name"])


def _read_node(
    name: str,
    entry: Mapping[str, Any],
    job_node: Any,
    given: Mapping[str, Any],
    outputs: Mapping[str, Any],
) -> Node:
    component = entry.get("component")
    if entry.get("type") != "command" or not isinstance(component, dict):
        raise BlocksError(
            "pipeline",
            name,
            f"it is a {entry.get('type')} of {component!r}",
            "a command component whose code is here",
            "run pipelines with other kinds of nodes on Azure ML",
        )
    ports = component.get("inputs") or {}
    inputs = {port: spec["default"] for port, spec in ports.items() if "default" in spec}
    for port, value in (entry.get("inputs") or {}).items():
        text = value["path"] if isinstance(value, dict) else value
        match = _BINDING.match(text) if isinstance(text, str) else None
        if match is None:
            inputs[port] = Path(text) if ports[port]["type"] in DATA_TYPES else text
        elif match[1] is None:
            inputs[port] = OutputOf(match[2], match[3])
        elif match[1] in given:
            inputs[port] = given[match[1]]
        elif ports[port].get("optional"):
            inputs.pop(port, None)
    for port, spec in ports.items():
        literal = inputs.get(port)
        if isinstance(literal, str) and any(odd in literal for odd in ("'", "\n", "${{")):
            raise BlocksError(
                "pipeline",
                f"{name}.{port}",
                f"{literal!r} holds a quote, a line break or a binding inside of text",
                "a value that a command line can carry",
                "give another value in the pipeline",
            )
        if port not in inputs and not spec.get("optional"):
            raise BlocksError(
                "pipeline",
                f"{name}.{port}",
                "nothing is bound to this input",
                f"a value of type {spec['type']}",
                "bind it in the pipeline",
            )
    limits, resources = getattr(job_node, "limits", None), getattr(job_node, "resources", None)
    tags = component.get("tags") or {}
    port, _, needed = str(tags.get(_NEEDS_TAG, "")).partition(" ")
    if port in inputs and needed not in inputs:
        raise BlocksError(
            "pipeline",
            f"{name}.{port}",
            f"it is {inputs[port]}, and {needed} is not given",
            f"{needed}, without which it means nothing",
            f"give {needed}, or leave {port} out",
        )
    return Node(
        name=name,
        component=component["name"],
        version=str(component.get("version", "")),
        role=tags.get("role", "cpu"),
        environment=str(component.get("environment", "")),
        command=component["command"],
        deterministic=component.get("is_deterministic") is not False,
        timeout_s=limits.timeout if limits is not None else None,
        input_types={port: spec["type"] for port, spec in ports.items()},
        output_types={p: s["type"] for p, s in (component.get("outputs") or {}).items()},
        inputs=inputs,
        entity=job_node.component,
        shares_work=tags.get(worker_group.TAG) == worker_group.MANY,
        instance_count=resources.instance_count if resources is not None else None,
        registers=dict(_registered(entry, outputs)),
        services=tuple(str(it.get("type")) for it in (entry.get("services") or {}).values()),
        environment_variables=entry.get("environment_variables") or {},
    )


def _ordered(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """The nodes, each after those it needs; otherwise in the pipeline's own order."""
    names, places = list(nodes), {name: place for place, name in enumerate(nodes)}
    missing = {name: len(node.needs) for name, node in nodes.items()}
    users: dict[str, list[str]] = {}
    for name, node in nodes.items():
        for maker in node.needs:
            users.setdefault(maker, []).append(name)
    ready = [places[name] for name in names if not missing[name]]
    ordered: dict[str, Node] = {}
    while ready:
        name = names[heapq.heappop(ready)]
        ordered[name] = nodes[name]
        for user in users.get(name, ()):
            missing[user] -= 1
            if not missing[user]:
                heapq.heappush(ready, places[user])
    if stuck := sorted(nodes.keys() - ordered.keys()):
        raise BlocksError(
            "pipeline",
            ", ".join(stuck),
            "these steps wait for each other, or for a step that is not there",
            "a graph without circles",
            "mend their bindings",
        )
    return ordered
