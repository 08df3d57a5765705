"""The open input of a release on its way to Azure ML: the folder of all published versions."""

# decision 64

from typing import Any

from tfhub_blocks.control.workspace.asset_publishing import data_version
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.uploads import PREFIX, Uploads
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.releases import ReleaseLock


def open_data(connection: Connection, uploads: Uploads, lock: ReleaseLock, job: Any) -> None:
    """Let the open input of a job read all published versions, and record the locked version.

    Raises:
        BlocksError: The locked version is not an upload of tfhub-blocks, or Azure refused a
            request.
    """
    for name in lock.open or {}:
        data = lock.data[name]
        what = f"data {data.name}:{data.version}"
        with told("submit", what):
            found = connection.client.data.get(data.name, data.version)
        address = str(found.path)
        if f"/paths/{PREFIX}/" not in address:
            raise BlocksError(
                "submit",
                what,
                f"{what} is at {address}, where `tfhub-blocks publish` did not put it",
                "a version that tfhub-blocks published",
                f"Run `tfhub-blocks publish --data {data.name}=PATH`, and lock that version",
            )
        published = found.creation_context.created_at if found.creation_context else None
        record = data_version(data.name, data.version, data.digest, address, published)
        uploads.keep_version(record)
        job.inputs[name].path = uploads.root
