"""Addresses of tfhub.dev, Kaggle, or whoever serves models as they do.

The protocol is that of the tensorflow_hub library's resolver
(https://www.tensorflow.org/hub/hosting): a GET with ``?tf-hub-format=compressed``, which tfhub.dev
redirects to Kaggle, answers a .tar.gz. The resolver itself can neither retry nor resume, checks
no size, and takes whatever lies in its cache.
"""

from pathlib import Path

from tfhub_blocks.compute.sources.downloads import downloaded
from tfhub_blocks.compute.sources.unpacking import unpack
from tfhub_blocks.records.pins.handles import canonical_handle, is_address

FORMAT_QUERY = "?tf-hub-format=compressed"


class HubSource:
    """Downloads the archive of an address and unpacks it."""

    takes = "a TF Hub or Kaggle address (https://...)"

    def matches(self, handle: str) -> bool:
        """Whether it is an address."""
        return is_address(handle)

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """The folder, with what the archive of the address holds."""
        address = canonical_handle(handle)
        with downloaded(address + FORMAT_QUERY, address, max_bytes) as archive:
            unpack(archive, folder, max_bytes, address)
        return folder
