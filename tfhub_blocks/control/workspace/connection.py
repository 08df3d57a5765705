"""The chosen workspace or registry, and the SDK's client for it."""

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
# Azure ML sets them for each step: where the step runs, and the client ID of its managed identity.
_JOB_VARIABLES = (
    "AZUREML_ARM_SUBSCRIPTION",
    "AZUREML_ARM_RESOURCEGROUP",
    "AZUREML_ARM_WORKSPACE_NAME",
)
_JOB_CLIENT_ID = "DEFAULT_IDENTITY_CLIENT_ID"
_STUDIO = "Studio: the workspace's name at the top right > Download config file"


@dataclass(frozen=True)
class Connection:
    """The SDK's ``MLClient`` of a workspace or a registry, and its name for users.

    ``credential`` is the login of the client.
    """

    client: Any
    name: str
    registry: str | None = None
    credential: Any = None

    def __str__(self) -> str:
        """Return the kind and the name: "workspace W" or "registry R"."""
        return f"{'registry' if self.registry else 'workspace'} {self.name}"


def connect(config: Path | None = None, registry: str | None = None) -> Connection:
    """Return a connection to the workspace that a ``config.json`` names, or to a registry.

    Nothing is sent to a workspace: an invalid login is found by the first request.

    Args:
        config: The file. Without one, the SDK's search applies: the working folder and its folder
            ``.azureml``, then those of each parent folder.
        registry: The name of a registry instead of a workspace.

    Raises:
        BlocksError: The file does not exist, or it names no workspace, or the registry did not
            answer.
    """
    from azure.ai.ml import MLClient

    from tfhub_blocks.control.project.federated_login import find_credential

    _quieten()
    credential = find_credential()
    if registry is not None:
        from tfhub_blocks.control.workspace.azure_errors import told

        # Unlike the client of a workspace, that of a registry asks for its regions at once.
        with told("registry", registry):
            client = MLClient(credential, registry_name=registry)
        return Connection(client, registry, registry, credential)
    names = _read(_find(config))
    # With show_progress=False azure-ai-ml 1.35 waits forever for a file that could not be sent.
    client = MLClient(credential, *(names[key] for key in _KEYS))
    return Connection(client, names["workspace_name"], credential=credential)


def connect_in_job(where: str) -> Connection:
    """Return a connection to the workspace in which this step runs, with the step's identity.

    Raises:
        BlocksError: The process is not a step of an Azure ML job.
    """
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    _quieten()
    names = [os.environ.get(variable, "") for variable in _JOB_VARIABLES]
    if missing := [key for key, name in zip(_JOB_VARIABLES, names, strict=True) if not name]:
        raise BlocksError(
            where,
            "environment",
            f"{', '.join(missing)} is not set, so the step does not know its workspace",
            "a job on Azure ML, which sets the variables",
            "Submit the step to a workspace; `tfhub-blocks deploy reap` does the same locally",
        )
    client_id = os.environ.get(_JOB_CLIENT_ID)
    credential = DefaultAzureCredential(
        **({"managed_identity_client_id": client_id} if client_id else {})
    )
    return Connection(MLClient(credential, *names), names[2], credential=credential)


def _quieten() -> None:
    """Silence the SDK's line for each kind of login that it did not find: our error is enough."""
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
    logging.getLogger("azure.ai.ml").setLevel(logging.ERROR)


def is_configured() -> bool:
    """Return True if a ``config.json`` in this folder or above it may name a workspace."""
    try:
        _find(None)
    except BlocksError:
        return False
    return True


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
        f"neither {here} nor a folder above contains {CONFIG_NAME}",
        "the config.json of a workspace",
        f"Download it from {_STUDIO}, or pass one with --workspace-config FILE",
    )


def _read(path: Path) -> Mapping[str, str]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        names = {key: str(record[key]) for key in _KEYS}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BlocksError(
            "workspace",
            str(path),
            f"this file cannot be read ({type(error).__name__}: {error})",
            "JSON with " + ", ".join(_KEYS),
            f"Download it again from {_STUDIO}",
        ) from error
    if empty := [key for key, name in names.items() if not name.strip()]:
        raise BlocksError(
            "workspace",
            str(path),
            f"{', '.join(empty)} is empty",
            "",
            f"Set {', '.join(empty)} in {path}, or download the file again from {_STUDIO}",
        )
    return names


def poll_interval_s() -> float:
    """Return the seconds between two status requests, from the SDK's own environment variable."""
    return float(os.environ.get("AZUREML_RUN_POLLING_INTERVAL_MIN", "5"))
