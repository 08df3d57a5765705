"""Assets that can be published: environments, encoders, data and steps, versioned by content."""

import copy
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from azure.ai.ml.entities import BuildContext, Data, Environment, Model

from tfhub_blocks.control.environments.environment_bakes import ENCODERS
from tfhub_blocks.control.environments.environment_catalog import Environment as DefinedEnvironment
from tfhub_blocks.control.project.code_files import snapshot_files
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.project.profiles import Publishing
from tfhub_blocks.control.repository.catalog import component_files, installed_folder
from tfhub_blocks.records.base.digests import (
    file_sha256,
    files_sha256,
    folder_files,
    paths_sha256,
    record_digest,
    tree_digest,
)
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import open_folder
from tfhub_blocks.records.base.lineage import STATEMENT_NAME
from tfhub_blocks.records.base.project_folders import project_folder, taken_path
from tfhub_blocks.records.environment.installed_packages import definition_digest
from tfhub_blocks.records.pins.pins import (
    FORMAT,
    PIN_NAME,
    SAVED_MODEL_FOLDER,
    check_files,
    hashed_files,
    read_pin,
)

# The metadata of a published step; those of the steps of tfhub-blocks.
DOCS_TAG, LICENCE_TAG = "docs", "licence"
_DOCS = "https://github.com/tfhub-blocks/tfhub-blocks/blob/main/docs/steps.md"
_LICENCE = "MIT"
ENCODERS_FOLDER = Path("encoders")
DIGEST_TAG = "tfhub_blocks.digest"
# The ports and paths of the inference server, in an environment that contains it.
_SERVER = "azureml-inference-server-http"
_HEALTH = {"port": 5001, "path": "/"}
_ROUTES = {
    "liveness_route": _HEALTH,
    "readiness_route": _HEALTH,
    "scoring_route": {"port": 5001, "path": "/score"},
}
# Azure ML accepts at most thirty characters in a version.
VERSION_DIGITS = 12


@dataclass(frozen=True)
class Asset:
    """One version of an asset, with the digest of all its content.

    ``entity`` returns a new SDK object on every call, because the SDK modifies the objects that it
    receives. For a component its argument is the target registry, or None for a workspace. For
    other assets the argument is the address of the uploaded ``content``, or its local path.
    """

    kind: str
    name: str
    version: str
    digest: str
    entity: Callable[[Any], Any] = field(repr=False, compare=False)
    content: Path | None = None

    @property
    def reference(self) -> str:
        """The name and version as pipelines and steps write them: ``azureml:NAME:VERSION``."""
        return f"azureml:{self.name}:{self.version}"


def environment_asset(environment: DefinedEnvironment) -> Asset:
    """Return the asset of a locally defined environment.

    Raises:
        BlocksError: The environment is baked, and its build context lacks the encoder.
    """
    definition, folder = environment.definition, environment.folder
    if definition.encoder and not (folder / ENCODERS / definition.encoder).is_dir():
        raise BlocksError(
            "publish",
            str(folder),
            f"encoder {definition.encoder} is missing from {ENCODERS}/ in this folder,"
            " so its image cannot be built",
            "the complete build context",
            "Bake the environment again with `tfhub-blocks env bake`",
        )
    digest, content = definition_digest(definition.files), _build_context(environment)

    def entity(address: str) -> Any:
        return Environment(
            name=definition.name,
            version=definition.version,
            description=definition.description.purpose,
            build=BuildContext(path=address),
            inference_config=_ROUTES if _SERVER in definition.lock.target_versions() else None,
            tags={DIGEST_TAG: digest, "owner": definition.description.owner},
        )

    return Asset("environment", definition.name, definition.version, digest, entity, content)


def _build_context(environment: DefinedEnvironment) -> Path:
    """Return the folder to build an image from: that of the commit if production takes one.

    Git does not contain the encoder of a baked environment. The commit names its digest, so a copy
    is taken from the working folder and compared with that.
    """
    definition, folder = environment.definition, environment.folder
    content = taken_path(folder)
    if content == folder or not definition.encoder:
        return content
    target = content / ENCODERS / definition.encoder
    if not target.exists():
        shutil.copytree(folder / ENCODERS / definition.encoder, target)
    if tree_digest(files_sha256(target / SAVED_MODEL_FOLDER)) != definition.encoder:
        raise BlocksError(
            "publish",
            str(folder / ENCODERS / definition.encoder),
            "the files of the encoder do not have the digest in their path",
            "the encoder that was baked",
            "Bake the environment again with `tfhub-blocks env bake`",
        )
    return content


def pin_files() -> dict[Path, Path]:
    """Return the file of each pin in encoders/, by the folder of its encoder.

    The file is that of the commit if production takes one; the encoder's own files are compared
    with it, wherever they are.
    """
    files = sorted((project_folder() / ENCODERS_FOLDER).glob(f"*/{PIN_NAME}"))
    return {ENCODERS_FOLDER / file.parent.name: file for file in files}


def pinned_digest(folder: Path, file: Path) -> str:
    """Return the digest of an encoder's folder with a pin."""
    files = files_sha256(folder if folder.is_dir() else file.parent)
    return tree_digest({**files, PIN_NAME: file_sha256(file)})


def check_pin(folder: Path) -> None:
    """Check that the pin in an encoder's folder is the one of the commit that production takes.

    Raises:
        BlocksError: The pin differs.
    """
    file = folder / PIN_NAME
    committed = taken_path(file)
    if committed != file and file.is_file() and file.read_bytes() != committed.read_bytes():
        raise BlocksError(
            "publish",
            str(file),
            f"{file} differs from the commit",
            "the pin that was reviewed and committed",
            f"Commit {file} after a review, or run `git restore {file}`",
        )


def encoder_asset(folder: Path) -> Asset:
    """Return a pinned encoder as a model asset, after checking every file against the pin.

    The folder of a baked or downloaded encoder may contain only its pin. The version covers the
    pin too: another decision about the same bytes is another version.

    Raises:
        BlocksError: The pin is missing, a file differs from the pin, or the folder contains
            anything that the pin or the lineage does not list.
    """
    pin = read_pin(folder / PIN_NAME)
    _check_only_pinned(folder)
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


def _check_only_pinned(folder: Path) -> None:
    """Check that the folder of an encoder contains only its pin, its SavedModel and its lineage."""
    listed = folder_files(folder)
    if STATEMENT_NAME in listed:
        open_folder(folder, FORMAT, "publish")
    for name in listed:
        top = name.partition("/")[0]
        if top not in (PIN_NAME, SAVED_MODEL_FOLDER, STATEMENT_NAME):
            raise BlocksError(
                "publish",
                str(folder),
                f"{name} is no part of the encoder",
                f"{PIN_NAME} and {SAVED_MODEL_FOLDER}/",
                f"Delete {folder / name}, or move it out of the folder",
            )


def data_asset(name: str, path: Path, owner: str = "") -> Asset:
    """Return a file or a folder as a data asset, with a version derived from its content.

    Raises:
        BlocksError: The path does not exist, or it contains something that an asset cannot contain.
    """
    if not path.exists():
        raise BlocksError(
            "publish",
            f"--data {name}",
            f"path {path} does not exist",
            "",
            f"Pass an existing file or folder as --data {name}=PATH",
        )
    digest = content_digest(path)
    version = digest[:VERSION_DIGITS]
    kind = "uri_file" if path.is_file() else "uri_folder"

    tags = {DIGEST_TAG: digest} | ({"owner": owner} if owner else {})

    def entity(address: str) -> Any:
        return Data(name=name, version=version, path=address, type=kind, tags=dict(tags))

    return Asset("data", name, version, digest, entity, path)


def load_components(names: Iterable[str]) -> list[Any]:
    """Return the components of the named steps."""
    package = import_module("tfhub_blocks.components")
    return [getattr(package, name) for name in names]


def component_asset(component: Any, publishing: Publishing | None = None) -> Asset:
    """Return a step as a component, with a version from its semantic version, code and ports.

    Args:
        component: The step.
        publishing: The prefix of its name, and its metadata, which is no part of its version.
    """
    settings = publishing or Publishing()
    name = f"{settings.prefix}{component.name}"
    code = component_code_digest(component)
    digest = record_digest({"code": code, "interface": component_interface(component)})
    version = f"{component.version}-{digest[:VERSION_DIGITS]}"

    def entity(registry: str | None) -> Any:
        published = copy.copy(component)
        published.name, published.version = name, version
        published.tags = component_tags(component, settings) | {DIGEST_TAG: digest}
        if registry is not None:
            pinned = component.environment.removeprefix("azureml:").partition(":")
            published.environment = (
                f"azureml://registries/{registry}/environments/{pinned[0]}/versions/{pinned[2]}"
            )
        return published

    return Asset("component", name, version, digest, entity)


def component_tags(component: Any, publishing: Publishing) -> dict[str, str]:
    """Return the tags of a published step: its own, the link to its documentation, its licence."""
    found = component_files().get(component.name)
    installed = installed_folder("components")
    if found is not None and found.path.resolve().is_relative_to(installed):
        facts = {DOCS_TAG: _DOCS, LICENCE_TAG: _LICENCE}
    else:
        facts = {DOCS_TAG: publishing.docs, LICENCE_TAG: publishing.licence}
    return {key: text for key, text in facts.items() if text} | dict(component.tags)


def component_code_digest(component: Any) -> str:
    """Return the digest of a step's code snapshot, as Azure ML receives it."""
    with snapshot_files(component) as files:
        return tree_digest(paths_sha256(files)) if files else ""


def component_interface(component: Any) -> Mapping[str, Any]:
    """Return a step's ports, command, environment and texts, without its code; JSON-ready.

    Defaults and limits are numbers, as authors write them; the SDK's dictionary contains text.
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
    """Convert a primitive to its port's type: the SDK stores many as text, and booleans as 1."""
    if kind == "boolean":
        return value.lower() in ("true", "1") if isinstance(value, str) else bool(value)
    return {"integer": int, "number": float}.get(kind, str)(value)
