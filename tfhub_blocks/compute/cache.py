"""The cache of downloaded encoders, each below the digest of its content."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfhub_blocks.compute.handles import resolve_handle
from tfhub_blocks.records.errors import BlocksError
from tfhub_blocks.records.pins import Pin, check_files, copy_files, hashed_files

CACHE_VARIABLE = "TFHUB_BLOCKS_CACHE"


def cache_folder() -> Path:
    """Where downloads are kept: ``TFHUB_BLOCKS_CACHE``, else in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tfhub-blocks"
    return Path(os.environ.get(CACHE_VARIABLE) or default)


def cached_saved_model(pin: Pin, where: str) -> Path:
    """The SavedModel of a pin from the cache, downloaded from the pin's handle if it is not there.

    Every byte is compared with the pin each time; what differs is removed and downloaded again.
    A SavedModel in the cache is complete or absent, and of several processes that want the same
    one downloads it.

    Raises:
        BlocksError: It cannot be downloaded, is not what was pinned, or cannot be kept.
    """
    folder = cache_folder()
    saved_model = folder / pin.digest
    try:
        if _is_sound(pin, saved_model, where):
            return saved_model
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder / f"{pin.digest}.lock"):
            if not _is_sound(pin, saved_model, where):
                _download(pin, saved_model, where)
    except OSError as error:
        raise BlocksError(
            where,
            f"cache {folder}",
            str(error),
            "a folder to write into, with room for the encoder",
            f"set {CACHE_VARIABLE} to another folder, or make room",
        ) from error
    return saved_model


def _is_sound(pin: Pin, saved_model: Path, where: str) -> bool:
    if not saved_model.is_dir():
        return False
    try:
        check_files(pin, hashed_files(saved_model), where)
    except BlocksError:
        return False
    return True


def _download(pin: Pin, saved_model: Path, where: str) -> None:
    with tempfile.TemporaryDirectory(dir=saved_model.parent, prefix=".partial-") as temporary:
        partial = Path(temporary) / "saved_model"
        files = copy_files(resolve_handle(pin.handle, Path(temporary) / "download"), partial)
        check_files(pin, files, where)
        shutil.rmtree(saved_model, ignore_errors=True)
        partial.rename(saved_model)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
