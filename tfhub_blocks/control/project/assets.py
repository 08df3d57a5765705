"""What can be published: environments, encoders, data and steps, each a version of its content."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from azure.ai.ml.entities import BuildContext, Data, Environment, Model

from tfhub_blocks.control.environments.environment_bakes import ENCODERS
from tfhub_blocks.control.environments.environment_catalog import Environment as DefinedEnvironment
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.records.base.digests import files_sha256, record_digest, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.environment.installed_packages import definition_digest
from tfhub_blocks.records.pins.pins import (
    PIN_NAME,
    SAVED_MODEL_FOLDER,
    check_files,
    hashed_files,
    read_pin,
)

DIGEST_TAG = "tfhub_blocks.digest"
# Where the server that an endpoint runs is asked, in an environment that has it.
_SERVER = "azureml-inference-server-http"
_HEALTH = {"port": 5001, "path": "/"}
_ROUTES = {
    "liveness_route": _HEALTH,
    "readiness_route": _HEALTH,
    "scoring_route": {"port": 5001, "path": "/score"},
}
# Azure ML takes at most thirty characters for a version.
VERSION_DIGITS = 12


@dataclass(frozen=True)
class Asset:
    """One version of something, with the digest of all its content.

    ``entity`` gives the SDK's object, made anew, because the SDK writes into those that it was
    given. For a component it takes the registry that it is meant for, if any; for the others the
    address of ``content``, which was sent before, or its path.
    """

    kind: str
    name: str
    version: str
    digest: str
    entity: Callable[[Any], Any] = field(repr=False, compare=False)
    content: Path | None = None

    @property
    def reference(self) -> str:
        """As pipelines and steps name it."""
        return f"azureml:{self.name}:{self.version}"


def environment_asset(environment: DefinedEnvironment) -> Asset:
    """An environment that is defined here.

    Raises:
        BlocksError: It is baked, and its build context lacks the encoder.
    """
    definition, folder = environment.definition, environment.folder
    if definition.encoder and not (folder / ENCODERS / definition.encoder).is_dir():
        raise BlocksError(
            "publish",
            str(folder),
            f"the encoder {definition.encoder} is not in its {ENCODERS}/, so no image can be built",
            "the whole build context",
            "bake it again: tfhub-blocks env bake",
        )
    digest = definition_digest(definition.files)

    def entity(address: str) -> Any:
        return Environment(
            name=definition.name,
            version=definition.version,
            description=definition.description.purpose,
            build=BuildContext(path=address),
            inference_config=_ROUTES if _SERVER in definition.lock.target_versions() else None,
            tags={DIGEST_TAG: digest, "owner": definition.description.owner},
        )

    return Asset("environment", definition.name, definition.version, digest, entity, folder)


def encoder_asset(folder: Path) -> Asset:
    """A pinned encoder, every file held against its pin, as a model asset.

    One that is baked or downloaded may be its pin alone. Its version covers the pin as well:
    another decision about the same bytes is another version.

    Raises:
        BlocksError: There is no pin, or a file is not as pinned.
    """
    pin = read_pin(folder / PIN_NAME)
    saved_model = folder / SAVED_MODEL_FOLDER
    if pin.decisions.model_travels or saved_model.is_dir():
        check_files(pin, hashed_files(saved_model), str(folder))
    digest = tree_digest(files_sha256(folder))
    version = digest[:VERSION_DIGITS]

    def entity(address: str) -> Any:
        return Model(
            name=pin.name,
            version=version,
            path=address,
            type="custom_model",
            description=f"{pin.handle}: {pin.modality}, {pin.output.dimension} features",
            tags={DIGEST_TAG: digest, "encoder_digest": pin.digest},
        )

    return Asset("model", pin.name, version, digest, entity, folder)


def data_asset(name: str, path: Path) -> Asset:
    """A file or a folder as a data asset, its version made from its content.

    Raises:
        BlocksError: There is nothing at the path, or something that no asset can hold.
    """
    if not path.exists():
        raise BlocksError(
            "publish", f"--data {name}", f"there is nothing at {path}", "data", "correct the path"
        )
    digest = content_digest(path)
    version = digest[:VERSION_DIGITS]
    kind = "uri_file" if path.is_file() else "uri_folder"

    def entity(address: str) -> Any:
        return Data(name=name, version=version, path=address, type=kind, tags={DIGEST_TAG: digest})

    return Asset("data", name, version, digest, entity, path)


def load_components(names: Iterable[str]) -> list[Any]:
    """The components of steps of these names."""
    package = import_module("tfhub_blocks.components")
    return [getattr(package, name) for name in names]


def component_asset(component: Any) -> Asset:
    """A step as a component, its version made of its semantic version, its code and its ports."""
    code = component_code_digest(component)
    digest = record_digest({"code": code, "interface": component_interface(component)})
    version = f"{component.version}-{digest[:VERSION_DIGITS]}"

    def entity(registry: str | None) -> Any:
        made = copy.copy(component)
        made.version = version
        made.tags = dict(component.tags) | {DIGEST_TAG: digest}
        if registry is not None:
            name, _, pinned = component.environment.removeprefix("azureml:").partition(":")
            made.environment = (
                f"azureml://registries/{registry}/environments/{name}/versions/{pinned}"
            )
        return made

    return Asset("component", component.name, version, digest, entity)


def component_code_digest(component: Any) -> str:
    """The digest of a step's code snapshot, as it is uploaded."""
    with component._build_code() as built:
        return tree_digest(files_sha256(Path(built.path))) if built else ""


def component_interface(component: Any) -> Mapping[str, Any]:
    """What a step is but for its code: ports, command, environment, texts; JSON-ready.

    Numbers are numbers, as people write them: the SDK's dictionary holds them as text.
    """
    record = dict(component._to_dict())
    record.pop("code", None)
    record["inputs"] = {
        name: {key: _typed(port["type"], key, value) for key, value in port.items()}
        for name, port in record.get("inputs", {}).items()
    }
    return record


def _typed(kind: str, key: str, value: Any) -> Any:
    if key not in ("default", "min", "max") or not isinstance(value, str):
        return value
    return typed(kind, value)


def typed(kind: str, value: Any) -> Any:
    """A primitive as its port's type: the SDK's dictionary holds many as text, booleans as 1."""
    if kind == "boolean":
        return value.lower() in ("true", "1") if isinstance(value, str) else bool(value)
    return {"integer": int, "number": float}.get(kind, str)(value)
