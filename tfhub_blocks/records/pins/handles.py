"""Handles: the names of encoders at their sources, in one spelling."""

import re
from urllib.parse import urlsplit

from tfhub_blocks.records.base.errors import BlocksError

_ADDRESS = re.compile(r"https?://", re.I)
# For each kind of handle that can name a changing encoder: the form that names one fixed version.
_VERSIONED = {
    "http": re.compile(r"https?://.*/\d+"),
    "https": re.compile(r"https?://.*/\d+"),
    "kagglehub": re.compile(r"kagglehub:[^/]+/[^/]+/[^/]+/[^/]+/\d+"),
    "azureml": re.compile(r"azureml:(//.*/versions/[^/@]+|[^/:@]+:[^/:@]+)"),
    "models": re.compile(r"models:/([^/@]+/\d+|m-[0-9a-f]+)"),
}


def is_address(handle: str) -> bool:
    """Return True if a handle is an HTTP address."""
    return bool(_ADDRESS.match(handle))


def canonical_handle(handle: str) -> str:
    """Return the spelling for a pin: an address loses its query, fragment and last ``/``.

    Raises:
        BlocksError: The address contains a name or password, which the pin would store.
    """
    if not is_address(handle):
        return handle
    parts = urlsplit(handle)
    if "@" in parts.netloc:
        raise BlocksError(
            "handle",
            f"{parts.scheme}://...@{parts.hostname}",
            "the address contains a name or a password, and pins are shared",
            "an address without credentials",
            "Download the encoder yourself, and pass the path of the downloaded file",
        )
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def is_mutable(handle: str) -> bool:
    """Return True if a handle names no fixed version, so its encoder can change."""
    versioned = _VERSIONED.get(handle.partition(":")[0].lower())
    return versioned is not None and not versioned.fullmatch(handle)
