"""The cache of downloaded encoders, each in a folder named by the digest of its content."""

# decision 11

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
    """Return the folder of downloads: ``TFHUB_BLOCKS_CACHE``, or one in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tfhub-blocks"
    return Path(os.environ.get(CACHE_VARIABLE) or default)


def cached_saved_model(pin: Pin, fetch: Callable[[Path], Path], where: str) -> Path:
    """Return the folder of a pin's SavedModel in the cache; fetch the SavedModel if necessary.

    Every byte is compared with the pin each time. A SavedModel that differs is removed and fetched
    again. A SavedModel in the cache is complete or absent. If several processes need the same
    SavedModel, only the first fetches it.

    Args:
        pin: The pin.
        fetch: Writes the SavedModel into an empty folder, and returns the SavedModel's folder.
        where: The command or step, for messages.

    Raises:
        BlocksError: The SavedModel cannot be fetched, differs from the pin, or cannot be stored.
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
    """Replace an OSError, such as a full or read-only disk, by an error with a remedy.

    Raises:
        BlocksError: The code in the context raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise BlocksError(
            where,
            f"cache {cache_folder()}",
            f"the cache cannot be written: {error.strerror or error}",
            "a writable folder with room for two copies of the encoder",
            f"Free some space, or set {CACHE_VARIABLE} to another folder",
        ) from error


def _is_sound(pin: Pin, saved_model: Path, where: str) -> bool:
    if not saved_model.is_dir():
        return False
    try:
        check_files(pin, hashed_files(saved_model), where)
    except BlocksError:
        return False
    return True
