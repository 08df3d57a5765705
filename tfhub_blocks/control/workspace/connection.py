"""Which workspace or registry is meant, and the SDK's client for it."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.errors import BlocksError

CONFIG_NAME = "config.json"
_KEYS = ("subscription_id", "resource_group", "workspace_name")
_STUDIO = "Studio: the workspace's name at the top right > Download config file"


@dataclass(frozen=True)
class Connection:
    """The SDK's ``MLClient`` of a workspace or a registry, and how people call that.

    ``credential`` is what the client logs in with.
    """

    client: Any
    name: str
    registry: str | None = None
    credential: Any = None

    def __str__(self) -> str:
        """As people call it."""
        return f"{'registry' if self.registry else 'workspace'} {self.name}"


def connect(config: Path | None = None, registry: str | None = None) -> Connection:
    """A connection to the workspace that a ``config.json`` names, or to a registry.

    Nothing is sent yet: the first request tells whether the login is good.

    Args:
        config: The file; else it is looked for as the SDK does: in the working folder and its
            folder ``.azureml``, then in those above.
        registry: The name of a registry instead of a workspace.

    Raises:
        BlocksError: There is no such file, or it names no workspace.
    """
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    # A line for each kind of login that is not there; the error says it once.
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
    logging.getLogger("azure.ai.ml").setLevel(logging.ERROR)
    credential = DefaultAzureCredential()
    if registry is not None:
        client = MLClient(credential, registry_name=registry)
        return Connection(client, registry, registry, credential)
    names = _read(_find(config))
    # With show_progress=False azure-ai-ml 1.35 waits for ever for a file that could not be sent.
    client = MLClient(credential, *(names[key] for key in _KEYS))
    return Connection(client, names["workspace_name"], credential=credential)


def _find(config: Path | None) -> Path:
    if config is not None:
        return config
    here = Path.cwd()
    for folder in (here, *here.parents):
        for path in (folder / CONFIG_NAME, folder / ".azureml" / CONFIG_NAME):
            if path.is_file():
                return path
    raise BlocksError(
        "workspace",
        CONFIG_NAME,
        f"there is none in {here} or above",
        "a workspace's config.json",
        f"get it from {_STUDIO}, or name one with --workspace-config",
    )


def _read(path: Path) -> Mapping[str, str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        names = {key: str(record[key]) for key in _KEYS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BlocksError(
            "workspace",
            str(path),
            f"it cannot be read ({type(error).__name__}: {error})",
            "JSON with " + ", ".join(_KEYS),
            f"get it anew from {_STUDIO}",
        ) from error
    if empty := [key for key, name in names.items() if not name.strip()]:
        raise BlocksError(
            "workspace", str(path), f"{', '.join(empty)} is empty", "a name", "complete it"
        )
    return names


def poll_interval_s() -> float:
    """How long to wait before asking again how something goes, as the SDK's own setting says."""
    return float(os.environ.get("AZUREML_RUN_POLLING_INTERVAL_MIN", "5"))
