"""Azure's blob storage: the real Azurite, in memory."""

import base64
import os
import re
import secrets
import socket
import ssl
import subprocess
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from azure.core.exceptions import ResourceNotFoundError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import (
    BlobServiceClient,
    ContainerSasPermissions,
    generate_container_sas,
)

from loopback.certificates import Certificates
from loopback.contract import ROOT

ACCOUNT = "loopbackstore"
HOST = f"{ACCOUNT}.blob.core.windows.net"
NODE = ROOT / ".node" / "bin" / "node"
_PROGRAM = Path("node_modules/azurite/dist/src/blob/main.js")
_START_TIMEOUT_S = 120.0
_DATASTORE = re.compile(r"azureml://(?:.*/)?datastores/\w+/(?:paths/)?(.*)")


def missing_program(folder: Path) -> str:
    """Return the reason why Azurite cannot run from a folder, or an empty text."""
    if NODE.is_file() and (folder / _PROGRAM).is_file():
        return ""
    return (
        f"Azurite is not in {folder.name}/. Run `make azurite`: it installs Azurite with npm or, "
        "where there is none, with Node.js from PyPI, and reports what fails"
    )


@dataclass
class Storage:
    """A running Azurite with one account, reached as the account's own host name.

    ``container`` is the workspace's: all its datastores lie in it. Unless it is ``quiet``, its log
    has a line for each answer.
    """

    program_folder: Path
    certificates: Certificates
    folder: Path
    key: str = field(default_factory=lambda: base64.b64encode(secrets.token_bytes(64)).decode())
    port: int = 0
    container: str = ""
    quiet: bool = True
    # The containers that stay when all else is forgotten.
    kept: set[str] = field(default_factory=set)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, at a free port unless there is one; it listens soon after."""
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        log = (self.folder / "azurite.log").open("wb")
        self._process = subprocess.Popen(
            [
                str(NODE),
                str(self.program_folder / _PROGRAM),
                *("--blobHost", "127.0.0.1", "--blobPort", str(self.port)),
                *("--cert", str(self.certificates.certificate)),
                *("--key", str(self.certificates.key)),
                *("--oauth", "basic", "--inMemoryPersistence", "--skipApiVersionCheck"),
                *("--disableTelemetry", "--blobKeepAliveTimeout", "3600"),
                *(["--silent"] if self.quiet else []),
            ],
            cwd=self.folder,
            env={"PATH": os.defpath, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self.key}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def wait(self) -> None:
        """Wait until it listens."""
        limit = time.monotonic() + _START_TIMEOUT_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > limit:
                    log = (self.folder / "azurite.log").read_text(errors="replace")
                    raise RuntimeError(f"Azurite did not start: {log}") from None
                time.sleep(0.05)

    def stop(self) -> None:
        """End it; what it held is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @cached_property
    def service(self) -> Any:
        """A client that does not pass the guard or the recorder."""
        return BlobServiceClient(
            f"https://localhost:{self.port}/{ACCOUNT}",
            credential={"account_name": ACCOUNT, "account_key": self.key},
            transport=RequestsTransport(
                connection_verify=str(self.certificates.authority), use_env_settings=False
            ),
        )

    def renew(self) -> None:
        """Forget all blobs but those kept, and give the workspace a container of a new name."""
        for container in self.service.list_containers():
            if container.name not in self.kept:
                self.service.delete_container(container.name)
        self.container = f"azureml-blobstore-{uuid.uuid4()}"
        self.service.create_container(self.container)

    def sas(self, container: str, write: bool = True) -> str:
        """A token for a container, good for an hour."""
        return generate_container_sas(
            ACCOUNT,
            container,
            self.key,
            permission=ContainerSasPermissions(
                read=True, list=True, write=write, create=write, add=write
            ),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )

    def signed(self, uri: str) -> str:
        """The ``https://`` address of a blob, with what reads and writes it for an hour."""
        place = self.locate(uri)
        assert place is not None, uri
        container, name = place
        return f"https://{HOST}/{container}/{quote(name)}?{self.sas(container)}"

    def holds(self, uri: str) -> bool:
        """Whether there is a blob at an address, or below it."""
        return bool(self.names(uri))

    def names(self, uri: str) -> list[str]:
        """The names of the blobs at an address and below it, none if it is not here."""
        place = self.locate(uri)
        if place is None:
            return []
        container, name = place
        folder = f"{name.rstrip('/')}/" if name else ""
        client = self.service.get_container_client(container)
        try:
            found = [blob.name for blob in client.list_blobs(name_starts_with=name.rstrip("/"))]
        except ResourceNotFoundError:
            return []
        return [blob for blob in found if blob == name or blob.startswith(folder)]

    def texts(self) -> dict[str, str]:
        """What is in all blobs, as text, by name; and each blob's metadata with it."""
        found = {}
        for container in self.service.list_containers():
            client = self.service.get_container_client(container.name)
            for blob in client.list_blobs(include=["metadata"]):
                content = client.download_blob(blob.name).readall().decode(errors="replace")
                found[f"{container.name}/{blob.name}"] = f"{content}{blob.metadata}"
        return found

    def download(self, uri: str, target: Path) -> None:
        """Write what is at an address into a file, or a folder."""
        place = self.locate(uri)
        assert place is not None, uri
        container, name = place
        for blob in self.names(uri):
            path = target / blob.removeprefix(name).lstrip("/") if blob != name else target
            path.parent.mkdir(parents=True, exist_ok=True)
            client = self.service.get_blob_client(container, blob)
            path.write_bytes(client.download_blob().readall())

    def upload(self, source: Path, uri: str) -> None:
        """Store a file, or a folder's files, at an address."""
        place = self.locate(uri)
        assert place is not None, uri
        container, name = place
        files = [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]
        for path in files:
            blob = name if path == source else f"{name}/{path.relative_to(source).as_posix()}"
            client = self.service.get_blob_client(container, blob)
            client.upload_blob(path.read_bytes(), overwrite=True)

    def locate(self, uri: str) -> tuple[str, str] | None:
        """The container and the blob's name in an ``https://`` or ``azureml://`` address.

        None for an address that is elsewhere.
        """
        if match := _DATASTORE.fullmatch(uri):
            return self.container, match[1]
        parts = urlsplit(uri)
        if parts.scheme == "https" and parts.hostname == HOST:
            container, _, name = unquote(parts.path).lstrip("/").partition("/")
            return container, name
        return None


def tls_context(certificates: Certificates) -> ssl.SSLContext:
    """What a server needs to speak TLS under every name of the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate, certificates.key)
    return context
