"""The interface of a source of encoders."""

from pathlib import Path
from typing import Protocol

# Published encoders are smaller; a larger download is a mistake or an archive bomb.
MAX_BYTES = 4 * 2**30


class EncoderSource(Protocol):
    """A source of SavedModels; ``takes`` describes the handles of the source, for messages."""

    takes: str

    def matches(self, handle: str) -> bool:
        """Return True if the source takes a handle; the check uses no network."""

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """Fetch a SavedModel; return a folder that contains it, at the top or below.

        The result is ``folder``, which was empty, with the fetched files, or the folder in which
        the files already exist.

        Raises:
            BlocksError: The SavedModel does not exist, cannot be reached, or is larger than
                ``max_bytes``.
        """
