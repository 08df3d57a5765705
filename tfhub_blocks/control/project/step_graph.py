"""A ``PipelineJob`` of azure-ai-ml as a graph of steps, with their order and inputs."""

# decision 71

import heapq
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfhub_blocks.control.repository.catalog import DATA_TYPES
from tfhub_blocks.records.base import worker_group
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.foreign_text import is_utf_8
from tfhub_blocks.records.base.redaction import has_secret
from tfhub_blocks.records.environment.code_snapshots import copy_code

_BINDING = re.compile(r"^\$\{\{parent\.(?:inputs\.(\w+)|jobs\.(\w+)\.outputs\.(\w+))\}\}$")
_OUTPUT_BINDING = re.compile(r"^\$\{\{parent\.outputs\.(\w+)\}\}$")
_OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]")
_PLACEHOLDER = re.compile(r"\$\{\{(inputs|outputs)\.(\w+)\}\}")
# A tag of a step: an optional port, a space, and the other port that the first one requires. The
# step checks this too, but it may be the last to run.
_NEEDS_TAG = "needs"
# A tag of a step: its input with the snapshot whose test items must suffice for its thresholds.
_JUDGES_TAG = "judges_by"
# The value of an input that Azure ML itself fills in, in the job of a schedule.
TRIGGER_TIME = "${{creation_context.trigger_time}}"
_ODD = re.compile(r"'|\n|\r|\$(?=\{\{|\[\[)")
_QUOTED = {"'": r"'\''", "\n": r"'$'\n''", "\r": r"'$'\r''", "$": "$''"}
_UNQUOTED = {quoted: odd for odd, quoted in _QUOTED.items()}
_QUOTED_ODD = re.compile(r"'\\''|'\$'\\[nr]''|\$''(?=\{\{|\[\[)")
_MLDESIGNER = "mldesigner execute "


@dataclass(frozen=True)
class OutputOf:
    """An input that is the output of another step."""

    node: str
    port: str


@dataclass(frozen=True)
class Node:
    """One step of a pipeline, with the command and the code that Azure ML would run.

    ``inputs`` maps each port to its source: an OutputOf, the Path of an input, or a primitive. An
    optional port without a source is absent. ``shares_work`` is True if the step can run on several
    workers; ``instance_count`` is the number that the pipeline sets, if any.
    ``registers`` maps an output to the name of the asset that Azure ML registers from it.
    ``judges_by`` is the input with the snapshot that the step judges a model by, if any.
    ``services`` lists the kinds of access that the pipeline opens into the running step, such as
    ``ssh``.
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
    judges_by: str = ""

    @property
    def needs(self) -> set[str]:
        """The names of the nodes whose outputs this node consumes."""
        return {value.node for value in self.inputs.values() if isinstance(value, OutputOf)}

    def command_line(self, inputs: Mapping[str, Any], outputs: Mapping[str, Path]) -> str:
        """Return the command with each placeholder replaced, as Azure ML does it."""
        texts = self._texts(inputs, outputs)
        return _filled(self._with_options(texts), texts)

    def arguments(self, inputs: Mapping[str, Any], outputs: Mapping[str, Path]) -> list[str]:
        """Return the command as the arguments of a process, with each value as it is.

        A command of mldesigner needs no shell, so no value is ever part of a program. Any other
        command is one for a shell.
        """
        if not self.is_mldesigner:
            return ["/bin/sh", "-c", self.command_line(inputs, outputs)]
        texts = self._texts(inputs, outputs)
        return [_filled(word, texts) for word in shlex.split(self._with_options(texts))]

    @property
    def is_mldesigner(self) -> bool:
        """True if mldesigner runs the step, and so quotes each placeholder in the command."""
        return self.command.startswith(_MLDESIGNER)

    def _texts(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Path]
    ) -> dict[tuple[str, str], str]:
        return {("inputs", port): self.text(port, value) for port, value in inputs.items()} | {
            ("outputs", port): str(path) for port, path in outputs.items()
        }

    def _with_options(self, texts: Mapping[tuple[str, str], str]) -> str:
        """Return the command without the optional parts whose ports have no value."""

        def keep(match: re.Match[str]) -> str:
            wanted = _PLACEHOLDER.findall(match[1])
            return match[1] if all(key in texts for key in wanted) else ""

        return _OPTIONAL.sub(keep, self.command)

    def text(self, port: str, value: Any) -> str:
        """Return a port's value as Azure ML writes it into a command line."""
        # The SDK's dictionary contains a boolean as 1 or 0.
        boolean = self.input_types[port] == "boolean" and isinstance(value, int)
        return str(bool(value) if boolean else value)

    def write_code(self, folder: Path) -> None:
        """Copy the code snapshot that Azure ML would receive into a new folder."""
        with self.entity._build_code() as code:
            copy_code(Path(code.path), folder)


def _filled(text: str, texts: Mapping[tuple[str, str], str]) -> str:
    return _PLACEHOLDER.sub(lambda match: texts[match[1], match[2]], text)


@dataclass(frozen=True)
class Graph:
    """The steps of a pipeline in an order that respects their dependencies, and its outputs."""

    name: str
    nodes: Mapping[str, Node]
    outputs: Mapping[str, OutputOf]

    def edges(self) -> Iterator[tuple[str, str, str]]:
        """Yield each edge of the graph as (producer, port, consumer)."""
        for node in self.nodes.values():
            for value in node.inputs.values():
                if isinstance(value, OutputOf):
                    yield value.node, value.port, node.name


def told_inputs(node: Node) -> dict[str, dict[str, str]]:
    """Return the source of each port of a node, as the record of a run stores it."""
    sources: dict[str, dict[str, str]] = {}
    for port, value in node.inputs.items():
        if isinstance(value, OutputOf):
            sources[port] = {"step": value.node, "port": value.port}
        elif isinstance(value, Path):
            sources[port] = {"path": str(value)}
        else:
            sources[port] = {"value": node.text(port, value)}
    return sources


def read_graph(job: Any, name: str, given: Mapping[str, Any]) -> Graph:
    """Return the graph of a pipeline job.

    Args:
        job: The azure-ai-ml ``PipelineJob``.
        name: The pipeline's name.
        given: The pipeline's inputs by name: paths for data, primitives for the rest.

    Raises:
        BlocksError: A node is not a command step, or an input of a node has no valid source.
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
    """Check that no node shares the resources of another node.

    azure-ai-ml copies the resources of ``set_resources`` from a node into its component, and from
    there into nodes that are created later.
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
            f"node {name} is a {entry.get('type')} of {component!r}",
            "a command component with local code",
            "Submit pipelines with other kinds of nodes to Azure ML with azure-ai-ml",
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
        if isinstance(literal, str):
            _check_text(name, port, literal, component["command"])
        if port not in inputs and not spec.get("optional"):
            raise BlocksError(
                "pipeline",
                f"{name}.{port}",
                f"input {port} of step {name} has no value",
                f"a value of type {spec['type']}",
                f"Pass {port}=... where the pipeline calls {component['name']}",
            )
    limits, resources = getattr(job_node, "limits", None), getattr(job_node, "resources", None)
    tags = component.get("tags") or {}
    port, _, needed = str(tags.get(_NEEDS_TAG, "")).partition(" ")
    if port in inputs and needed not in inputs:
        raise BlocksError(
            "pipeline",
            f"{name}.{port}",
            f"{port} is {inputs[port]}, but {needed} is missing",
            f"{needed} together with {port}",
            f"Set {needed} too, or leave {port} out",
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
        judges_by=str(tags.get(_JUDGES_TAG, "")),
    )


def _check_text(name: str, port: str, text: str, command: str) -> None:
    """Check that a command can contain a text that a pipeline or a caller passes to a step."""
    odd = ("\0",) if command.startswith(_MLDESIGNER) else ("'", "\n", "${{", "\0")
    if any(character in text for character in odd) or not is_utf_8(text):
        raise BlocksError(
            "pipeline",
            f"{name}.{port}",
            f"{text!r} contains a character that the command of the step cannot contain",
            "a value that a command line can contain",
            f"Change {port} of step {name} in the pipeline, or the input that it comes from",
        )


def refuse_secrets(graph: Graph) -> None:
    """Check that no step gets a credential as a value.

    Raises:
        BlocksError: A text contains one. The message does not contain it.
    """
    for node in graph.nodes.values():
        for port, value in node.inputs.items():
            if isinstance(value, str) and has_secret(value):
                raise BlocksError(
                    "pipeline",
                    f"{node.name}.{port}",
                    "the value contains a credential, which records and lineage would keep",
                    "a value without a password, a key or a signature",
                    f"Take the credential out of {port}; pass it in an environment variable or a"
                    " Key Vault, or pass the data as an asset",
                )


def quoted_text(text: str) -> str:
    """Return a text as the value of a port on Azure ML, which puts it between single quotes.

    The service replaces a placeholder in the command by the value, and passes the command to
    bash. Only quotes, line breaks and what looks like a placeholder change (decision 71).
    """
    return _ODD.sub(lambda match: _QUOTED[match[0]], text)


def unquoted_text(text: str) -> str:
    """Return the text that ``quoted_text`` was called with."""
    return _QUOTED_ODD.sub(lambda match: _UNQUOTED[match[0]], text)


def quote_texts(job: Any) -> None:
    """Quote each text in a job's inputs, and each literal in the inputs of its nodes, for Azure."""
    for value in job.inputs.values():
        text = getattr(value, "_data", None)
        if isinstance(text, str) and text != TRIGGER_TIME:
            value._data = quoted_text(text)
    for node in job.jobs.values():
        for value in node.inputs.values():
            text = getattr(value, "_data", None)
            if isinstance(text, str) and not _BINDING.match(text):
                value._data = quoted_text(text)


def _ordered(nodes: Mapping[str, Node]) -> dict[str, Node]:
    """Return the nodes, each after those that it needs; otherwise in the pipeline's own order."""
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
            "these steps depend on each other, or on a step that does not exist",
            "a graph without cycles",
            "Change their inputs in the pipeline",
        )
    return ordered
