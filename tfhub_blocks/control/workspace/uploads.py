"""Files on their way into the workspace's storage, under the digest of what they are.

Not by the SDK: a folder of which it sent a part before it failed, it never completes (decision
0012).
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient, ContentSettings

from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.failures import told
from tfhub_blocks.records.digests import folder_files
from tfhub_blocks.records.errors import BlocksError

PREFIX = "tfhub-blocks"
# Several small files at once: each waits for an answer most of its time.
_AT_ONCE = 8


@dataclass(frozen=True)
class Uploads:
    """The default datastore of a workspace, asked for when something is first sent."""

    connection: Connection

    def send(
        self, source: Path, digest: str, on_progress: Callable[[int, int], None] = lambda *_: None
    ) -> str:
        """Send a file or a folder; give its address in the datastore.

        What is there with the same bytes is not sent again, so a repeated call goes on where an
        interrupted one was.

        Args:
            source: The file or folder.
            digest: Of its content, which becomes part of the address.
            on_progress: Told how many bytes of how many are there.

        Raises:
            BlocksError: Storage refused it, or the workspace keeps its files in no blob storage.
        """
        folder = f"{PREFIX}/{digest}/{source.name}"
        files = [("", source)] if source.is_file() else list(folder_files(source))
        with told("upload", str(source)):
            there = {blob.name: _md5(blob) for blob in self._container.list_blobs(folder)}
            waiting = {
                f"{folder}/{name}".rstrip("/"): path
                for name, path in files
                if there.get(f"{folder}/{name}".rstrip("/")) != _file_md5(path)
            }
            total = sum(path.stat().st_size for path in waiting.values())
            done = 0
            for sent_bytes in self._sent(waiting):
                done += sent_bytes
                on_progress(done, total)
        return f"azureml://datastores/{self._datastore.name}/paths/{folder}"

    def address(self, path: str) -> str:
        """The https address of something that was sent."""
        name = path.partition("/paths/")[2]
        return f"{self._container.url.partition('?')[0]}/{name}"

    def _sent(self, waiting: Mapping[str, Path]) -> Iterator[int]:
        def send(name: str, path: Path) -> int:
            settings = ContentSettings(content_md5=bytearray(_file_md5(path)))
            with path.open("rb") as file:
                self._container.upload_blob(
                    name, file, overwrite=True, content_settings=settings, validate_content=True
                )
            return path.stat().st_size

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(send, waiting, waiting.values())

    @cached_property
    def _datastore(self) -> Any:
        return self.connection.client.datastores.get_default(include_secrets=True)

    @cached_property
    def _container(self) -> Any:
        store = self._datastore
        if store.type.lower() not in ("azureblob", "azure_blob"):
            raise BlocksError(
                "upload",
                store.name,
                f"the workspace's default datastore is of type {store.type}",
                "blob storage",
                "make workspaceblobstore the default in Studio > Data > Datastores",
            )
        secret = store.credentials
        key = getattr(secret, "account_key", None) or getattr(secret, "sas_token", None)
        return ContainerClient(
            f"{store.protocol}://{store.account_name}.blob.{store.endpoint}",
            store.container_name,
            credential=key or DefaultAzureCredential(),
        )


def _md5(blob: Any) -> bytes:
    return bytes(blob.content_settings.content_md5 or b"")


def _file_md5(path: Path) -> bytes:
    # Storage's own checksum, against broken transfers; what is trusted is the digest.
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
