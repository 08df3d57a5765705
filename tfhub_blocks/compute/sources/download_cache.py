"""The cache of downloaded encoders, each below the digest of its content."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import locked
from tfhub_blocks.records.pins.pins import Pin, check_files, copy_files, hashed_files

CACHE_VARIABLE = "TFHUB_BLOCKS_CACHE"


def cache_folder() -> Path:
    """Where downloads are kept: ``TFHUB_BLOCKS_CACHE``, else in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tfhub-blocks"
    return Path(os.environ.get(CACHE_VARIABLE) or default)


def cached_saved_model(pin: Pin, fetch: Callable[[Path], Path], where: str) -> Path:
    """The SavedModel of a pin from the cache; what is not there is fetched.

    Every byte is compared with the pin each time; what differs is removed and fetched again. A
    SavedModel in the cache is complete or absent, and of several processes that want the same one
    fetches it.

    Args:
        pin: The pin.
        fetch: Puts the SavedModel into an empty folder and gives the folder that it is in.
        where: Who asks, for messages.

    Raises:
        BlocksError: It cannot be fetched, is not what was pinned, or cannot be kept.
    """
    folder = cache_folder()
    saved_model = folder / pin.digest
    with cache_trouble(where):
        if _is_sound(pin, saved_model, where):
            return saved_model
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{pin.digest}.lock"):
            if _is_sound(pin, saved_model, where):
                return saved_model
            with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as temporary:
                partial = Path(temporary) / "saved_model"
                files = copy_files(fetch(Path(temporary) / "fetched"), partial)
                check_files(pin, files, where)
                shutil.rmtree(saved_model, ignore_errors=True)
                partial.rename(saved_model)
    return saved_model


@contextmanager
def cache_trouble(where: str) -> Iterator[None]:
    """A disk that is full or may not be written, told with the way out.

    Raises:
        BlocksError: In place of the OSError.
    """
    try:
        yield
    except OSError as error:
        raise BlocksError(
            where,
            f"cache {cache_folder()}",
            f"{error.strerror or error}",
            "a folder to write into, with room for the encoder twice",
            f"make room, or set {CACHE_VARIABLE} to another folder",
        ) from error


def _is_sound(pin: Pin, saved_model: Path, where: str) -> bool:
    if not saved_model.is_dir():
        return False
    try:
        check_files(pin, hashed_files(saved_model), where)
    except BlocksError:
        return False
    return True
