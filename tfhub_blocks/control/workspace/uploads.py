"""Files on their way into the workspace's storage, under the digest of what they are.

Not by the SDK: a folder of which it sent a part before it failed, it never completes (decision
0012).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient, ContentSettings

from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.digests import folder_files
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import without_remains

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
        files = [_File(folder, source)]
        if source.is_dir():
            content = without_remains(dict(folder_files(source)))
            files = [_File(f"{folder}/{name}", path) for name, path in content.items()]
        with told("upload", str(source)):
            there = {blob.name: _md5(blob) for blob in self._container.list_blobs(folder)}
            waiting = [file for file in files if there.get(file.name) != file.md5]
            total = sum(file.path.stat().st_size for file in waiting)
            done = 0
            for sent_bytes in self._sent(waiting):
                done += sent_bytes
                on_progress(done, total)
        return f"azureml://datastores/{self._datastore.name}/paths/{folder}"

    def address(self, path: str) -> str:
        """The https address of something that was sent."""
        name = path.partition("/paths/")[2]
        return f"{self._container.url.partition('?')[0]}/{name}"

    def _sent(self, waiting: Sequence["_File"]) -> Iterator[int]:
        def send(file: _File) -> int:
            settings = ContentSettings(content_md5=bytearray(file.md5))
            with file.path.open("rb") as content:
                self._container.upload_blob(
                    file.name,
                    content,
                    overwrite=True,
                    content_settings=settings,
                    validate_content=True,
                )
            return file.path.stat().st_size

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(send, waiting)

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


@dataclass(frozen=True)
class _File:
    """A file that is to be a blob of a name."""

    name: str
    path: Path

    @cached_property
    def md5(self) -> bytes:
        """Storage's own checksum, against broken transfers; what is trusted is the digest."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
