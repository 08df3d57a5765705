"""The resolution of a pipeline and its inputs in this repository, in the terms of a lock."""

# decision 31

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.control.environments.environment_catalog import read_definitions
from tfhub_blocks.control.project.assets import (
    DIGEST_TAG,
    VERSION_DIGITS,
    component_asset,
    component_code_digest,
    data_asset,
    encoder_asset,
    typed,
)
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.project.step_graph import Graph, Node, OutputOf
from tfhub_blocks.control.releases.job_forms import built_form
from tfhub_blocks.control.repository.catalog import DATA_TYPES, MODEL_TYPES
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.environment.environment_definitions import EnvironmentDefinition
from tfhub_blocks.records.environment.installed_packages import definition_digest
from tfhub_blocks.records.environment.package_locks import LOCK_NAME
from tfhub_blocks.records.formats.releases import (
    LockedComponent,
    LockedData,
    LockedEncoder,
    LockedEnvironment,
    LockedStep,
)
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

_BINDING = re.compile(r"^\$\{\{parent\.([\w.]+)\}\}$")
_MODEL = "mlflow_model"
# Returns the tags of a workspace's asset; the arguments are kind, name and version.
Published = Callable[[str, str, str], Mapping[str, str]]


@dataclass(frozen=True)
class ResolvedInputs:
    """A pipeline's inputs: its data, its encoders, and the values of all others."""

    data: Mapping[str, LockedData]
    encoder: Mapping[str, LockedEncoder]
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Resolved:
    """The parts of a graph, which depend only on the repository and the inputs."""

    environments: Mapping[str, LockedEnvironment]
    components: Mapping[str, LockedComponent]
    steps: Mapping[str, LockedStep]
    job: Mapping[str, Any]


def resolve_inputs(
    ports: Mapping[str, Any],
    given: Mapping[str, Any],
    names: Mapping[str, str],
    published: Published,
) -> ResolvedInputs:
    """Resolve a pipeline's inputs to the entries of a lock, defaults included.

    Args:
        ports: The declared inputs.
        given: The values of inputs: paths or references for data, values for the rest.
        names: Asset names of data and models passed as a path, by input; the default is the name
            of the path.
        published: A function that returns the tags of assets passed by reference.

    Raises:
        BlocksError: An input has no version, or an encoder has no pin.
    """
    data, encoders, inputs = dict[str, LockedData](), dict[str, LockedEncoder](), {}
    for name, port in sorted(ports.items()):
        value = given.get(name, port.default)
        if value is None:
            continue
        if port.type == _MODEL:
            encoders[name] = _model(name, value, names.get(name), published)
        elif port.type in MODEL_TYPES:
            encoders[name] = _encoder(name, value, port.type, published)
        elif port.type in DATA_TYPES:
            data[name] = _data(name, value, port.type, names.get(name), published)
        else:
            inputs[name] = typed(port.type, value)
    return ResolvedInputs(data, encoders, inputs)


def resolve_graph(job: Any, graph: Graph, where: str = "lock") -> Resolved:
    """Resolve the steps, components and environments of a pipeline job.

    Args:
        job: The azure-ai-ml ``PipelineJob``, before a profile sets anything.
        graph: The graph of the job.
        where: The command, for errors.

    Raises:
        BlocksError: A step names an environment that is not defined in the repository, or reads
            data that is no input of the pipeline, or the job has an unknown field.
    """
    bindings, form = _bindings(job), built_form(job, where)
    if odd := sorted(graph.nodes.keys() ^ form.nodes.keys()):
        raise BlocksError(
            where,
            f"step {odd[0]}",
            f"step {odd[0]} was added to the job or removed from it after the pipeline was built",
            "the steps " + ", ".join(graph.nodes),
            f"Build the pipeline {graph.name} with exactly these steps",
        )
    environments, components = {}, {}
    definitions = {f"{d.name}:{d.version}": d for d in read_definitions().values()}
    for node in graph.nodes.values():
        name = environment_name(node)
        if name not in environments:
            environments[name] = _environment(node, definitions)
        if node.component not in components:
            asset = component_asset(node.entity)
            code = component_code_digest(node.entity)
            components[node.component] = LockedComponent(asset.version, asset.digest, code)
    return Resolved(
        dict(sorted(environments.items())),
        dict(sorted(components.items())),
        {n: _step(node, bindings[n], form.nodes[n]) for n, node in graph.nodes.items()},
        form.job,
    )


def environment_name(node: Node) -> str:
    """Return the name of a node's environment, without its version."""
    return node.environment.removeprefix("azureml:").rpartition(":")[0] or node.environment


def _bindings(job: Any) -> dict[str, dict[str, str]]:
    """Return the input to which each port is bound, such as ``inputs.source``, by node and port."""
    entries = job._to_dict().get("jobs") or {}
    texts = {
        name: {
            port: str(value.get("path", "") if isinstance(value, dict) else value)
            for port, value in (entry.get("inputs") or {}).items()
        }
        for name, entry in entries.items()
    }
    return {
        name: {port: found[1] for port, text in ports.items() if (found := _BINDING.match(text))}
        for name, ports in texts.items()
    }


def _step(node: Node, bindings: Mapping[str, str], sent: Mapping[str, Any]) -> LockedStep:
    inputs = {}
    for port, value in sorted(node.inputs.items()):
        if node.input_types[port] in DATA_TYPES:
            if port not in bindings:
                raise BlocksError(
                    "lock",
                    f"{node.name}.{port}",
                    f"the pipeline itself sets {str(value)!r}, which a lock cannot contain",
                    "an input of the pipeline",
                    f"Declare an input of the pipeline, and bind {node.name}.{port} to it",
                )
            inputs[port] = bindings[port]
    parameters = {
        port: typed(node.input_types[port], value)
        for port, value in sorted(node.inputs.items())
        if not isinstance(value, OutputOf) and node.input_types[port] not in DATA_TYPES
    }
    return LockedStep(node.component, environment_name(node), inputs, parameters, sent)


def _environment(node: Node, definitions: Mapping[str, EnvironmentDefinition]) -> LockedEnvironment:
    definition = definitions.get(node.environment.removeprefix("azureml:"))
    if definition is None:
        raise BlocksError(
            "lock",
            f"step {node.name}",
            f"the environment {node.environment} is not defined in the repository",
            "one of " + ", ".join(sorted(definitions)),
            "Run `tfhub-blocks env lock`, which writes the new version into component.py",
        )
    image = definition.base_image
    return LockedEnvironment(
        definition.version,
        definition_digest(definition.files),
        hashlib.sha256(definition.files[LOCK_NAME]).hexdigest(),
        image.reference,
        image.digest or None,
    )


def _data(port: str, value: Any, kind: str, name: str | None, published: Published) -> LockedData:
    if isinstance(value, Path):
        asset = data_asset(name or value.name, value)
        return LockedData(asset.name, asset.version, asset.digest, kind)
    name, version = _reference(port, value)
    digest = published("data", name, version)[DIGEST_TAG]
    return LockedData(name, version, digest, kind)


def _encoder(port: str, value: Any, kind: str, published: Published) -> LockedEncoder:
    if isinstance(value, Path):
        if not (value / PIN_NAME).is_file():
            raise BlocksError(
                "lock",
                port,
                f"{value} has no {PIN_NAME}, so the encoder is unknown",
                "a pinned encoder",
                f"Run `tfhub-blocks encoder pin {value}`",
            )
        asset, pin = encoder_asset(value), read_pin(value / PIN_NAME)
        return LockedEncoder(asset.name, asset.version, asset.digest, kind, pin.digest, pin.handle)
    name, version = _reference(port, value)
    tags = published("model", name, version)
    digest = tags[DIGEST_TAG]
    return LockedEncoder(name, version, digest, kind, tags.get("encoder_digest", ""))


def _model(port: str, value: Any, name: str | None, published: Published) -> LockedEncoder:
    """Return the entry of a model, with a version from its content, as ``promote`` computes it."""
    if isinstance(value, Path):
        digest = content_digest(value)
        pin = read_pin(value / PIN_NAME) if (value / PIN_NAME).is_file() else None
        known = (pin.digest, pin.handle) if pin else ("", None)
        version = digest[:VERSION_DIGITS]
        return LockedEncoder(name or value.name, version, digest, _MODEL, *known)
    name, version = _reference(port, value)
    tags = published("model", name, version)
    encoder = tags.get("tfhub_blocks.encoder_digest", "")
    return LockedEncoder(name, version, tags[DIGEST_TAG], _MODEL, encoder)


def _reference(port: str, value: Any) -> tuple[str, str]:
    text = str(value)
    name, _, version = text.removeprefix("azureml:").rpartition(":")
    if not text.startswith("azureml:") or name.startswith("//") or not (name and version):
        raise BlocksError(
            "lock",
            port,
            f"{text!r} is no version of a registered asset, so its content may change",
            "azureml:NAME:VERSION, or a local path",
            "Register the data with `tfhub-blocks publish --data NAME=PATH`",
        )
    return name, version
