"""A folder of this machine, or of what is mounted into it."""

from pathlib import Path


class FolderSource:
    """Gives the folder itself."""

    takes = "a folder"

    def matches(self, handle: str) -> bool:
        """Whether there is such a folder."""
        return Path(handle).is_dir()

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """The folder; nothing is copied."""
        return Path(handle)
