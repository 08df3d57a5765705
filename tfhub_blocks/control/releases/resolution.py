"""What a pipeline with its inputs resolves to here, in the terms of a release lock."""

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
# Gives what a workspace has of an asset: kind, name and version in, its tags out.
Published = Callable[[str, str, str], Mapping[str, str]]


@dataclass(frozen=True)
class ResolvedInputs:
    """A pipeline's inputs: what is data, what is an encoder, and every other one by its value."""

    data: Mapping[str, LockedData]
    encoder: Mapping[str, LockedEncoder]
    inputs: Mapping[str, Any]


@dataclass(frozen=True)
class Resolved:
    """What a graph is made of here: no more than a function of the repository and the inputs."""

    environments: Mapping[str, LockedEnvironment]
    components: Mapping[str, LockedComponent]
    steps: Mapping[str, LockedStep]


def resolve_inputs(
    ports: Mapping[str, Any],
    given: Mapping[str, Any],
    names: Mapping[str, str],
    published: Published,
) -> ResolvedInputs:
    """A pipeline's inputs as a lock holds them, defaults included.

    Args:
        ports: The declared inputs.
        given: What was given: paths or references for data, values for the rest.
        names: The asset's name of data or of a model that is given by its path, by input; else the
            path's own.
        published: Asked for what is given by reference.

    Raises:
        BlocksError: Something is given that has no version, or an encoder without a pin.
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


def resolve_graph(job: Any, graph: Graph) -> Resolved:
    """What a pipeline job is made of here.

    Args:
        job: The azure-ai-ml ``PipelineJob``.
        graph: The graph of it.

    Raises:
        BlocksError: A step names an environment that is not defined here, or gets data that is no
            input of the pipeline.
    """
    bindings = _bindings(job)
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
        {name: _step(node, bindings[name]) for name, node in graph.nodes.items()},
    )


def environment_name(node: Node) -> str:
    """The name of a node's environment, without its version."""
    return node.environment.removeprefix("azureml:").rpartition(":")[0] or node.environment


def _bindings(job: Any) -> dict[str, dict[str, str]]:
    """What each node's ports are bound to, such as ``inputs.source``, by node and port."""
    entries = job._to_dict()["jobs"]
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


def _step(node: Node, bindings: Mapping[str, str]) -> LockedStep:
    inputs = {}
    for port, value in sorted(node.inputs.items()):
        if node.input_types[port] in DATA_TYPES:
            if port not in bindings:
                raise BlocksError(
                    "lock",
                    f"{node.name}.{port}",
                    f"the pipeline itself gives it {str(value)!r}, which no lock would hold",
                    "an input of the pipeline",
                    "declare an input, and give it there",
                )
            inputs[port] = bindings[port]
    parameters = {
        port: typed(node.input_types[port], value)
        for port, value in sorted(node.inputs.items())
        if not isinstance(value, OutputOf) and node.input_types[port] not in DATA_TYPES
    }
    return LockedStep(node.component, environment_name(node), inputs, parameters)


def _environment(node: Node, definitions: Mapping[str, EnvironmentDefinition]) -> LockedEnvironment:
    definition = definitions.get(node.environment.removeprefix("azureml:"))
    if definition is None:
        raise BlocksError(
            "lock",
            f"step {node.name}",
            f"its environment {node.environment} is not defined here",
            "one of " + ", ".join(sorted(definitions)),
            "let component.py name it: tfhub-blocks env lock",
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
                f"{value} has no {PIN_NAME}, so nothing tells which encoder it is",
                "a pinned encoder",
                f"tfhub-blocks encoder pin {value}",
            )
        asset, pin = encoder_asset(value), read_pin(value / PIN_NAME)
        return LockedEncoder(asset.name, asset.version, asset.digest, kind, pin.digest, pin.handle)
    name, version = _reference(port, value)
    tags = published("model", name, version)
    digest = tags[DIGEST_TAG]
    return LockedEncoder(name, version, digest, kind, tags.get("encoder_digest", ""))


def _model(port: str, value: Any, name: str | None, published: Published) -> LockedEncoder:
    """A model, as ``promote`` puts it into a workspace: its version is made from its content."""
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
            f"{text!r} is no version of a registered asset, so it may be another thing tomorrow",
            "azureml:NAME:VERSION, or a path on this machine",
            "register it: tfhub-blocks publish --data NAME=PATH",
        )
    return name, version
