"""Uploads into the workspace's storage, under the digest of their content.

The SDK is not used: it never completes a folder of which an earlier, failed upload sent a part
(decision 0012).
"""

# decisions 12 and 57

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from azure.storage.blob import ContainerClient, ContentSettings

from tfhub_blocks.control.project.federated_login import find_credential
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.digests import source_files, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import stage_content
from tfhub_blocks.records.base.lineage import STATEMENT_NAME
from tfhub_blocks.records.formats.data_versions import VERSIONS_NAME, DataVersion

PREFIX = "tfhub-blocks"
# Several small files in parallel: most of the time each waits for an answer.
_AT_ONCE = 8


@contextmanager
def staged(source: Path, digest: str | None) -> Iterator[Path]:
    """Copy a file or a folder for an upload, check the copy against a digest, and yield its path.

    Args:
        source: The file or folder; only files of its lineage are copied if it has a lineage.
        digest: The digest of all its files, with or without the lineage; None if the digest of the
            asset covers only some of the files.

    Raises:
        BlocksError: The content has another digest, or a finished folder contains anything that its
            lineage does not list.
    """
    with TemporaryDirectory(prefix="tfhub-blocks-") as scratch:
        copy = Path(scratch) / source.resolve().name
        files = stage_content(source, copy)
        found = {*files.values()} if source.is_file() else {tree_digest(files)}
        found.add(tree_digest({n: it for n, it in files.items() if n != STATEMENT_NAME}))
        if digest is not None and digest not in found:
            raise BlocksError(
                "upload",
                str(source),
                f"{source} was changed after its digest was computed",
                f"content {digest}",
                "Find out which program writes to this path, stop it, and run the command again",
            )
        yield copy


@dataclass(frozen=True)
class Uploads:
    """Uploads to the default datastore of a workspace, which is looked up at the first upload."""

    connection: Connection

    def send(
        self, source: Path, digest: str, on_progress: Callable[[int, int], None] = lambda *_: None
    ) -> str:
        """Upload a file or a folder, and return its address in the datastore.

        Files that storage already contains with the same bytes are not sent again, so a repeated
        call continues an interrupted one.

        Args:
            source: The file or folder, as ``staged`` yields it.
            digest: The digest of the content, which becomes part of the address.
            on_progress: Called with the bytes sent so far and the bytes to send in total.

        Raises:
            BlocksError: Storage refused a request, or the workspace's default datastore is not blob
                storage.
        """
        folder = f"{PREFIX}/{digest}/{source.name}"
        files = [_File(folder, source)]
        if source.is_dir():
            content = source_files(source)
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

    def remove(self, digest: str) -> int:
        """Delete an upload by its digest, and return the number of its files.

        Raises:
            BlocksError: Storage refused a request.
        """
        with told("upload", digest):
            names = [blob.name for blob in self._container.list_blobs(f"{PREFIX}/{digest}/")]
            for name in names:
                self._container.delete_blob(name)
        return len(names)

    @property
    def root(self) -> str:
        """The address of the folder that contains all uploads and the versions of data."""
        return f"azureml://datastores/{self._datastore.name}/paths/{PREFIX}"

    def keep_version(self, version: DataVersion) -> None:
        """Record a published version of data, once, for steps that resolve an open input.

        Raises:
            BlocksError: Storage refused a request.
        """
        with told("upload", f"data {version.name}:{version.version}"):
            folder = f"{PREFIX}/{VERSIONS_NAME}/{version.name}/"
            known = {blob.name for blob in self._container.list_blobs(folder)}
            if not any(name.endswith(f"-{version.version}.json") for name in known):
                self._container.upload_blob(f"{PREFIX}/{version.file_name}", version.as_text())

    def address(self, path: str) -> str:
        """Return the https address of an upload."""
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
                f"the workspace's default datastore has type {store.type}",
                "blob storage",
                "Set workspaceblobstore as the default in Studio > Data > Datastores",
            )
        secret = store.credentials
        key = getattr(secret, "account_key", None) or getattr(secret, "sas_token", None)
        return ContainerClient(
            f"{store.protocol}://{store.account_name}.blob.{store.endpoint}",
            store.container_name,
            credential=key or find_credential(),
        )


def _md5(blob: Any) -> bytes:
    return bytes(blob.content_settings.content_md5 or b"")


@dataclass(frozen=True)
class _File:
    """A file to upload, and the name of its blob."""

    name: str
    path: Path

    @cached_property
    def md5(self) -> bytes:
        """Storage's own checksum against broken transfers; integrity relies on the digest."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
