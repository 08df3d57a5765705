"""Model assets of a workspace or a registry, fetched for the command line."""

import re
from pathlib import Path

from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import connect
from tfhub_blocks.records.base.errors import BlocksError

_ASSET = re.compile(
    r"azureml:(?://registries/(?P<registry>[^/]+)/models/(?P<shared>[^/]+)/versions/(?P<of>[^/@]+)"
    r"|(?P<name>[^/:@]+):(?P<version>[^/:@]+))"
)


def download_asset(handle: str, folder: Path) -> Path:
    """Download a model asset into a folder; give the folder that it then is in.

    Raises:
        BlocksError: The handle names no exact version, or Azure refuses it.
    """
    found = _ASSET.fullmatch(handle)
    if found is None:
        raise BlocksError(
            "encoder",
            handle,
            "it names no exact version of a model",
            "azureml:NAME:VERSION, or azureml://registries/REGISTRY/models/NAME/versions/VERSION",
            "correct it",
        )
    name, version = found["name"] or found["shared"], found["version"] or found["of"]
    connection = connect(registry=found["registry"])
    with told("encoder", handle):
        connection.client.models.download(name, version, download_path=str(folder))
    return folder
