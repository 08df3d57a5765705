"""Handles: TF Hub and Kaggle addresses, downloaded as the tensorflow_hub library does it."""

import os
import socket
import tarfile
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfhub_blocks.compute.runtime import tf
from tfhub_blocks.records.errors import BlocksError

NO_CERTIFICATES = "TFHUB_DISABLE_CERT_VALIDATION"
TIMEOUT_S = 60.0


def resolve_handle(handle: str, cache: Path) -> Path:
    """The folder below ``cache`` that the SavedModel of an http(s) handle was downloaded into.

    tensorflow_hub takes whatever its cache holds for a handle, so give an empty folder: then what
    comes back was downloaded by this call.

    Raises:
        BlocksError: The handle is no address, certificates are not to be checked, or the download
            failed.
    """
    if NO_CERTIFICATES in os.environ:
        raise BlocksError(
            "resolve_handle",
            NO_CERTIFICATES,
            "it is set, so anyone on the way could put in another model",
            "an environment without it",
            "unset it; for a private certificate authority set SSL_CERT_FILE",
        )
    if not handle.startswith(("https://", "http://")):
        raise BlocksError(
            "resolve_handle",
            "handle",
            f"it is {handle!r}",
            "an address such as https://tfhub.dev/google/nnlm-en-dim50/2",
            "give an address, or give a folder as source",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It imports pkg_resources, which says that it will go.
        import tensorflow_hub as hub
    try:
        with _hub_settings(cache):
            return Path(hub.resolve(handle))
    except (
        OSError,
        EOFError,
        ValueError,
        zlib.error,
        tarfile.TarError,
        tf.errors.OpError,
    ) as error:
        told = f"{type(error).__name__}: {error}".splitlines()[0]
        raise BlocksError(
            "resolve_handle",
            handle,
            f"a GET with ?tf-hub-format=compressed gave no SavedModel ({told})",
            "a .tar.gz of one",
            "check the address and the network, or download it and give the folder as source",
        ) from error


@contextmanager
def _hub_settings(cache: Path) -> Iterator[None]:
    """Our cache, whole archives, and no connection that hangs for ever."""
    settings = {"TFHUB_CACHE_DIR": str(cache), "TFHUB_MODEL_LOAD_FORMAT": "COMPRESSED"}
    before = {name: os.environ.get(name) for name in settings}
    timeout_s = socket.getdefaulttimeout()
    os.environ.update(settings)
    socket.setdefaulttimeout(TIMEOUT_S)
    try:
        yield
    finally:
        socket.setdefaulttimeout(timeout_s)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
