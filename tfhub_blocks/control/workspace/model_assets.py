"""Model assets of a workspace or a registry, downloaded for the command line."""

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
    """Download a model asset into a folder, and return that folder.

    Raises:
        BlocksError: The handle names no exact version, or Azure refused the download.
    """
    found = _ASSET.fullmatch(handle)
    if found is None:
        raise BlocksError(
            "encoder",
            handle,
            f"handle {handle!r} does not name an exact version of a model",
            "azureml:NAME:VERSION, or azureml://registries/REGISTRY/models/NAME/versions/VERSION",
            "Pass the handle with a version number from Studio > Models",
        )
    name, version = found["name"] or found["shared"], found["version"] or found["of"]
    connection = connect(registry=found["registry"])
    with told("encoder", handle):
        connection.client.models.download(name, version, download_path=str(folder))
    return folder
