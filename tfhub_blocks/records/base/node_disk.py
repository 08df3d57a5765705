"""The disk of this machine, for scratch of outputs that lie on a mount of remote storage.

An output of a job of Azure ML is a mount: a rename there copies and deletes each blob. Therefore
unfinished files lie on the node's disk, and the mount receives each file once.
"""

# decision 94

import hashlib
import tempfile
from functools import cache
from pathlib import Path

# The types of file systems of mounted storage; fuse-overlayfs and fuseblk are local disks.
_REMOTE_TYPES = frozenset(
    {"fuse", "fuse.blobfuse", "fuse.blobfuse2", "nfs", "nfs4", "cifs", "smb3"}
)
_MOUNTS = Path("/proc/self/mountinfo")
_SCRATCH_PREFIX = "tfhub-blocks-scratch-"


def is_mounted(path: Path) -> bool:
    """Return True if a path lies on a mount of remote storage. The path may be absent."""
    resolved = path.absolute()
    while not resolved.exists() and resolved != resolved.parent:
        resolved = resolved.parent
    return _type(resolved.resolve()) in _REMOTE_TYPES


def scratch_folder(folder: Path) -> Path:
    """Return the folder for unfinished files of an output: next to them, or on the node's disk.

    The path depends on the output's path alone, so the next attempt on this node finds the folder.
    """
    if not is_mounted(folder):
        return folder
    name = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"{_SCRATCH_PREFIX}{name}"


@cache
def _type(path: Path) -> str:
    """Return the type of the file system of an existing path; empty if it is not known."""
    found, longest = "", -1
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:  # not Linux
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        place = before.split(" ")[4].replace("\\040", " ")
        if path.is_relative_to(place) and len(place) >= longest:
            found, longest = after.split(" ")[0], len(place)
    return found
