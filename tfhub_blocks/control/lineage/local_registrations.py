"""Registered models of this machine: ``.runs/mlflow.db``, with the tags of register_model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from tfhub_blocks.records.base.errors import BlocksError, nearest

DATABASE_NAME = "mlflow.db"
# As compute/registry.py writes them.
TAG = "tfhub_blocks."


@dataclass(frozen=True)
class Registration:
    """A version of a registered model; ``tags`` are ours, without their prefix.

    ``workspace`` is the one that it is registered in; of this machine's, nothing.
    """

    name: str
    version: int | str
    source: Path
    tags: Mapping[str, str]
    description: str = ""
    workspace: str = ""

    def __str__(self) -> str:
        """As it is asked for."""
        return f"{self.name}:{self.version}"

    @property
    def label(self) -> str:
        """As people tell it from others of that name."""
        return f"{self} of workspace {self.workspace}" if self.workspace else str(self)


def own_tags(tags: Mapping[str, Any] | None) -> dict[str, str]:
    """Those of a model's tags that are ours, without their prefix."""
    found = (tags or {}).items()
    return {key.removeprefix(TAG): str(it) for key, it in found if key.startswith(TAG)}


def registered(folder: Path) -> list[Registration]:
    """Each version of each model that was registered below a folder ``.runs``, in order."""
    database = folder.absolute() / DATABASE_NAME
    if not database.is_file():
        return []

    client = _client(database)
    described = {model.name: model.description for model in client.search_registered_models()}
    found, token = [], None
    while True:
        page = client.search_model_versions(page_token=token)
        for version in page:
            found.append(
                Registration(
                    version.name,
                    int(version.version),
                    _path(str(version.source), folder),
                    own_tags(version.tags),
                    version.description or described.get(version.name) or "",
                )
            )
        token = page.token
        if not token:
            return sorted(found, key=lambda it: (it.name, int(it.version)))


def find_registration(folder: Path, text: str, where: str) -> Registration | None:
    """The version that NAME or NAME:VERSION means, the newest if it does not say; None if none.

    Raises:
        BlocksError: The model is there, and the version is not.
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
            nearest(version, known) or "correct it",
        )
    return found


def set_tag(folder: Path, version: Registration, name: str, value: str) -> None:
    """Give a version that is registered below a folder ``.runs`` a tag of ours."""
    client = _client(folder.absolute() / DATABASE_NAME)
    client.set_model_version_tag(version.name, str(version.version), TAG + name, value)


def _client(database: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{database}", f"sqlite:///{database}")


def _path(source: str, folder: Path) -> Path:
    """Where the files of a version are; below the folder, if all of it was moved."""
    path = Path(unquote(urlparse(source).path) if source.startswith("file:") else source)
    if not path.exists() and "mlflow" in path.parts:
        start = len(path.parts) - 1 - path.parts[::-1].index("mlflow")
        return folder.joinpath(*path.parts[start:])
    return path
