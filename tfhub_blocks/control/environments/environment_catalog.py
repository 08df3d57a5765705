"""The locally defined environments: found by name, and described."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from tfhub_blocks.control.repository.catalog import component_files, installed_folder
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.project_folders import origin_path, project_folder
from tfhub_blocks.records.environment.environment_definitions import (
    EnvironmentDefinition,
    read_definition,
)
from tfhub_blocks.records.environment.environment_references import Reference, environment_reference
from tfhub_blocks.records.environment.package_locks import Lock

CUDA = re.compile(r"nvidia-cuda-runtime(-cu\d+)?")
CUDNN = re.compile(r"nvidia-cudnn(-cu\d+)?")


@dataclass(frozen=True)
class Environment:
    """An environment's definition, and the references to it in component.py files."""

    definition: EnvironmentDefinition
    references: tuple[Reference, ...]

    @property
    def key(self) -> str:
        """The name of the environment's folder."""
        return self.definition.key

    @property
    def folder(self) -> Path:
        """The folder of the definition."""
        return Path(self.definition.where)


def find_environments(names: Iterable[str] = ()) -> list[Environment]:
    """Return the named environments, or all; one in the working folder hides an installed one.

    A name is the name of the folder, or the name in ``environment.yaml``.

    Raises:
        BlocksError: No environment has that name.
    """
    definitions = read_definitions()
    full_names = {definition.name: key for key, definition in definitions.items()}
    wanted = []
    for name in names:
        if name not in definitions and name not in full_names:
            known = [*definitions, *full_names]
            raise BlocksError(
                "env",
                name,
                f"environment {name!r} is not defined",
                "one of " + ", ".join(definitions) if definitions else "",
                nearest(name, known) or "Run `tfhub-blocks env show` to see all environments",
            )
        wanted.append(name if name in definitions else full_names[name])
    references = component_references()
    return [
        Environment(definition, tuple(r for r in references if r.name == definition.name))
        for key, definition in definitions.items()
        if not wanted or key in wanted
    ]


def read_definitions() -> dict[str, EnvironmentDefinition]:
    """Return each definition by its folder's name; the working folder's hide installed ones."""
    folders = {
        path.name: path
        for root in (installed_folder("components"), project_folder() / "components")
        for path in root.glob("environments/[!_.]*")
        if path.is_dir()
    }
    return {
        key: replace(read_definition(short_path(path)), where=str(shown_path(path)))
        for key, path in sorted(folders.items())
    }


def component_references() -> list[Reference]:
    """Return the environment that each step names; steps that name none are left out."""
    found = (environment_reference(short_path(file.path)) for file in component_files().values())
    return [reference for reference in found if reference is not None]


def locked_version(lock: Lock, pattern: re.Pattern[str]) -> str:
    """Return the version of the first package whose name matches, or an empty text."""
    versions = lock.target_versions()
    return next((v for name, v in versions.items() if pattern.fullmatch(name)), "")


def describe(environment: Environment) -> list[tuple[str, str]]:
    """Return the description of an environment, as pairs of a title and a text."""
    definition = environment.definition
    description, image, lock = definition.description, definition.base_image, definition.lock
    steps = [reference.component.parent.name for reference in environment.references]
    return [
        ("name", f"{description.name}:{definition.version}"),
        ("folder", definition.where),
        ("owner", description.owner or "not set"),
        ("purpose", description.purpose or "not set"),
        ("base image", image.reference),
        ("digest", image.digest or "unknown"),
        ("Python", lock.python),
        ("CUDA", _cuda_text(lock, image.cuda)),
        ("cuDNN", locked_version(lock, CUDNN) or "none"),
        ("packages", str(len(lock.target_versions()))),
        *([("continues", description.continues)] if description.continues else []),
        *([("encoder", definition.encoder)] if definition.encoder else []),
        ("steps", ", ".join(sorted(steps)) or "none"),
    ]


def _cuda_text(lock: Lock, of_image: str) -> str:
    text = locked_version(lock, CUDA) or "none"
    return f"{text} (base image: {of_image})" if of_image else text


def shown_path(path: Path) -> Path:
    """Return a path for a message; a file of production's copy is named as in the project."""
    return short_path(origin_path(path))


def short_path(path: Path) -> Path:
    """Return a path relative to the working folder if it is inside that folder."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
