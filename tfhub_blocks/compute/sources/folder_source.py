"""A local or mounted folder as a source."""

from pathlib import Path


class FolderSource:
    """A source that returns the folder itself."""

    takes = "a folder"

    def matches(self, handle: str) -> bool:
        """Return True if the handle is the path of a folder."""
        return Path(handle).is_dir()

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """Return the folder; nothing is copied."""
        return Path(handle)
