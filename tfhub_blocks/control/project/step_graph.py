"""A ``PipelineJob`` of azure-ai-ml as a graph of steps, with their order and inputs."""

# decision 71

import heapq
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfhub_blocks.control.project.code_files import snapshot_files
from tfhub_blocks.records.base.digests import copy_file
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.redaction import has_secret

# A part of a command that is left out if its ports have no value, and the place of a value.
OPTIONAL = re.compile(r"\$\[\[(.*?)\]\]")
PLACEHOLDER = re.compile(r"\$\{\{(inputs|outputs)\.(\w+)\}\}")
# The value of an input that Azure ML itself fills in, in the job of a schedule.
TRIGGER_TIME = "${{creation_context.trigger_time}}"
_ODD = re.compile(r"'|\n|\r|\$(?=\{\{|\[\[)")
_QUOTED = {"'": r"'\''", "\n": r"'$'\n''", "\r": r"'$'\r''", "$": "$''"}
_UNQUOTED = {quoted: odd for odd, quoted in _QUOTED.items()}
_QUOTED_ODD = re.compile(r"'\\''|'\$'\\[nr]''|\$''(?=\{\{|\[\[)")
MLDESIGNER = "mldesigner execute "


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
    ``ssh``. A step of an inner pipeline is named ``OUTER.INNER``. ``line`` is the line of the
    user's file that created the node, as FILE:LINE, or an empty text.
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
    line: str = ""

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
        return self.command.startswith(MLDESIGNER)

    def _texts(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Path]
    ) -> dict[tuple[str, str], str]:
        return {("inputs", port): self.text(port, value) for port, value in inputs.items()} | {
            ("outputs", port): str(path) for port, path in outputs.items()
        }

    def _with_options(self, texts: Mapping[tuple[str, str], str]) -> str:
        """Return the command without the optional parts whose ports have no value."""

        def keep(match: re.Match[str]) -> str:
            wanted = PLACEHOLDER.findall(match[1])
            return match[1] if all(key in texts for key in wanted) else ""

        return OPTIONAL.sub(keep, self.command)

    def text(self, port: str, value: Any) -> str:
        """Return a port's value as Azure ML writes it into a command line."""
        # The SDK's dictionary contains a boolean as 1 or 0.
        boolean = self.input_types[port] == "boolean" and isinstance(value, int)
        return str(bool(value) if boolean else value)

    def write_code(self, folder: Path) -> None:
        """Copy the code snapshot that Azure ML would receive into a new folder.

        Raises:
            BlocksError: The code contains a link to a folder, a broken link or a device.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with snapshot_files(self.entity) as files:
            for name, path in files.items():
                copy_file(path, folder / name)


def _filled(text: str, texts: Mapping[tuple[str, str], str]) -> str:
    return PLACEHOLDER.sub(lambda match: texts[match[1], match[2]], text)


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


def job_nodes(job: Any, prefix: str = "") -> dict[str, Any]:
    """Return each node of a job by its name, and each of an inner pipeline as ``OUTER.INNER``."""
    found: dict[str, Any] = {}
    for name, node in job.jobs.items():
        inner = getattr(node, "component", None)
        if getattr(node, "type", "") == "pipeline" and hasattr(inner, "jobs"):
            found |= job_nodes(inner, f"{prefix}{name}.")
        else:
            found[prefix + name] = node
    return found


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
    for node in job_nodes(job).values():
        for value in node.inputs.values():
            text = getattr(value, "_data", None)
            if isinstance(text, str) and not text.startswith("${{parent."):
                value._data = quoted_text(text)


def ordered_nodes(nodes: Mapping[str, Node]) -> dict[str, Node]:
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
