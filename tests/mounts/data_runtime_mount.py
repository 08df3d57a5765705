"""Mount a folder of blob storage with the data runtime of Azure ML's jobs.

``data_runtime_mount.py URI FOLDER CACHE`` runs in the runtime's own environment (``.mount``), and
unmounts when its standard input ends. STORAGE_TOKEN contains the bearer token for the storage.
"""

import os
import sys
import time
from typing import Any

from azureml.dataprep.api import _azure_access_token_resolver as resolver
from azureml.dataprep.fuse.dprepfuse import MountOptions, rslex_uri_volume_mount

EXPIRES_S = 24 * 3600


def token(*_: Any, **__: Any) -> tuple[str, int]:
    """Return a token and its expiry. In a job, the identity endpoint of the compute does this."""
    return os.environ["STORAGE_TOKEN"], int(time.time()) + EXPIRES_S


uri, folder, cache = sys.argv[1:]
resolver._resolve_azure_access_token = token
options = MountOptions(data_dir=cache, read_only=False, create_destination=True)
mount = rslex_uri_volume_mount(uri, folder, options)
mount.start()
sys.stdin.read()
mount.stop()
