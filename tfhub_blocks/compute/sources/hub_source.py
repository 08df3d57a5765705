"""Addresses of tfhub.dev, of Kaggle, or of another server with the same protocol.

The protocol is that of the tensorflow_hub library's resolver
(https://www.tensorflow.org/hub/hosting): a GET with ``?tf-hub-format=compressed``, which tfhub.dev
redirects to Kaggle, returns a .tar.gz. This module does not use the resolver itself, because the
resolver cannot retry or resume, checks no size, and trusts any content of its cache.
"""

from pathlib import Path

from tfhub_blocks.compute.sources.downloads import downloaded
from tfhub_blocks.compute.sources.unpacking import unpack
from tfhub_blocks.records.pins.handles import canonical_handle, is_address

FORMAT_QUERY = "?tf-hub-format=compressed"


class HubSource:
    """A source that downloads the archive of an address and unpacks it."""

    takes = "a TF Hub or Kaggle address (https://...)"

    def matches(self, handle: str) -> bool:
        """Return True if the handle is an address."""
        return is_address(handle)

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """Download and unpack the archive of the address into the folder; return the folder."""
        address = canonical_handle(handle)
        with downloaded(address + FORMAT_QUERY, address, max_bytes) as archive:
            unpack(archive, folder, max_bytes, address)
        return folder
