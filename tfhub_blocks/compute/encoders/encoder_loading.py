"""Where the bytes of a pinned encoder are: its team's decision on loading, in one place."""

import os
from pathlib import Path

from tfhub_blocks.compute.sources.download_cache import cached_saved_model
from tfhub_blocks.compute.sources.fetching import REMOTE_SOURCES, fetch_saved_model
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import (
    IMAGE_FOLDER,
    IMAGE_VARIABLE,
    SAVED_MODEL_FOLDER,
    Pin,
    check_files,
    hashed_files,
)


def pinned_saved_model(pin: Pin, folder: Path, where: str) -> Path:
    """The SavedModel that a pin means, every byte of it as pinned.

    It is beside the pin where that decides ``mounted`` or nothing, in the image where it decides
    ``baked``, and where it decides ``downloaded`` in a cache, into which it is downloaded once.
    Only the last opens a socket.

    Args:
        pin: The pin.
        folder: Where it was read.
        where: Who asks, for messages.

    Raises:
        BlocksError: It is not there, a file differs, or the download failed.
    """
    if pin.decisions.loading == "downloaded":
        return cached_saved_model(
            pin, lambda empty: fetch_saved_model(pin.handle, empty, REMOTE_SOURCES, pin), where
        )
    baked = pin.decisions.loading == "baked"
    saved_model = (_image_folder() / pin.digest if baked else folder) / SAVED_MODEL_FOLDER
    if not saved_model.is_dir():
        raise _absent(pin, saved_model, where)
    check_files(pin, hashed_files(saved_model), where)
    return saved_model


def _image_folder() -> Path:
    return Path(os.environ.get(IMAGE_VARIABLE) or IMAGE_FOLDER)


def _absent(pin: Pin, saved_model: Path, where: str) -> BlocksError:
    if pin.decisions.model_travels:
        expected, remedy = "the SavedModel beside its pin", "import the encoder again"
    else:
        expected = "an image that the encoder is baked into, as its pin decides (loading)"
        remedy = (
            "bake it (`tfhub-blocks env bake`) and let the profile's [environments] name that "
            "environment, or decide for mounted or downloaded"
        )
    return BlocksError(where, pin.name, f"there is no folder {saved_model}", expected, remedy)
