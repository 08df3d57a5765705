"""Locally registered models: ``.runs/mlflow.db``, with the tags that register_model sets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from tfhub_blocks.control.project.run_folders import sqlite_uri
from tfhub_blocks.control.project.tracking_store import DATABASE_NAME, model_versions
from tfhub_blocks.records.base.errors import BlocksError, nearest

# The prefix that compute/registration/model_registry.py writes.
TAG = "tfhub_blocks."


@dataclass(frozen=True)
class Registration:
    """A version of a registered model; ``tags`` are those of tfhub-blocks, without their prefix.

    ``workspace`` is the workspace that registered the model, or empty for a local model.
    """

    name: str
    version: int | str
    source: Path
    tags: Mapping[str, str]
    description: str = ""
    workspace: str = ""

    def __str__(self) -> str:
        """Return NAME:VERSION."""
        return f"{self.name}:{self.version}"

    @property
    def label(self) -> str:
        """The name and version, with the workspace if the model is not a local one."""
        return f"{self} of workspace {self.workspace}" if self.workspace else str(self)


def own_tags(tags: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the tags that tfhub-blocks set on a model, without their prefix."""
    found = (tags or {}).items()
    return {key.removeprefix(TAG): str(it) for key, it in found if key.startswith(TAG)}


def registered(folder: Path) -> list[Registration]:
    """Return each version of each model that is registered below a folder ``.runs``, in order."""
    return [
        Registration(
            it.name, it.version, _path(it.source, folder), own_tags(it.tags), it.description
        )
        for it in model_versions(folder, "registry")
    ]


def find_registration(folder: Path, text: str, where: str) -> Registration | None:
    """Return the version that NAME:VERSION names, the newest for NAME, or None if no model has it.

    Raises:
        BlocksError: The model exists, and the version does not.
    """
    name, _, version = text.partition(":")
    versions = [it for it in registered(folder) if it.name == name]
    if not versions:
        return None
    if not version:
        return versions[-1]
    found = next((it for it in versions if str(it.version) == version), None)
    if found is None:
        known = [str(it.version) for it in versions]
        raise BlocksError(
            where,
            text,
            f"model {name} has no version {version!r}",
            "one of " + ", ".join(known),
            nearest(version, known) or f"Pass {name}:{known[-1]}, the newest version",
        )
    return found


def set_tag(folder: Path, version: Registration, name: str, value: str) -> None:
    """Set a tag of tfhub-blocks on a version that is registered below a folder ``.runs``."""
    client = _client(folder.absolute() / DATABASE_NAME)
    client.set_model_version_tag(version.name, str(version.version), TAG + name, value)


def _client(database: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(sqlite_uri(database), sqlite_uri(database))


def _path(source: str, folder: Path) -> Path:
    """Return the folder of a version's files, also if the folder ``.runs`` was moved."""
    path = Path(unquote(urlparse(source).path) if source.startswith("file:") else source)
    if not path.exists() and "mlflow" in path.parts:
        start = len(path.parts) - 1 - path.parts[::-1].index("mlflow")
        return folder.joinpath(*path.parts[start:])
    return path
