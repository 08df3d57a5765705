"""Handles: what an encoder is called where it comes from, in one spelling."""

import re
from urllib.parse import urlsplit

from tfhub_blocks.records.base.errors import BlocksError

_ADDRESS = re.compile(r"https?://", re.I)
# What names one version and no other, of each kind of handle that may name a changing one.
_VERSIONED = {
    "http": re.compile(r"https?://.*/\d+"),
    "https": re.compile(r"https?://.*/\d+"),
    "kagglehub": re.compile(r"kagglehub:[^/]+/[^/]+/[^/]+/[^/]+/\d+"),
    "azureml": re.compile(r"azureml:(//.*/versions/[^/@]+|[^/:@]+:[^/:@]+)"),
    "models": re.compile(r"models:/([^/@]+/\d+|m-[0-9a-f]+)"),
}


def is_address(handle: str) -> bool:
    """Whether it is an address of HTTP."""
    return bool(_ADDRESS.match(handle))


def canonical_handle(handle: str) -> str:
    """The spelling that a pin keeps: of an address neither query nor fragment nor last ``/``.

    Raises:
        BlocksError: The address holds a name or password, which would be kept in the pin.
    """
    if not is_address(handle):
        return handle
    parts = urlsplit(handle)
    if "@" in parts.netloc:
        raise BlocksError(
            "handle",
            f"{parts.scheme}://...@{parts.hostname}",
            "it holds a name or a password, and pins are shared",
            "an address without",
            "take it out; download from there by hand and give the file",
        )
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def is_mutable(handle: str) -> bool:
    """Whether a handle may mean something else on another day: it names no version, or a label."""
    versioned = _VERSIONED.get(handle.partition(":")[0].lower())
    return versioned is not None and not versioned.fullmatch(handle)
