"""The interface of a source."""

from pathlib import Path
from typing import Protocol

# What is more than this is no encoder that anyone publishes, but a mistake or an archive bomb.
MAX_BYTES = 4 * 2**30


class EncoderSource(Protocol):
    """A kind of place that SavedModels come from; ``takes`` says in words what handles it takes."""

    takes: str

    def matches(self, handle: str) -> bool:
        """Whether it takes a handle; no network is asked."""

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """The folder in which a SavedModel is, at its top or below.

        It is ``folder``, which is empty, with what was fetched, or where the files are already.

        Raises:
            BlocksError: It is not there, cannot be reached, or is larger than ``max_bytes``.
        """
