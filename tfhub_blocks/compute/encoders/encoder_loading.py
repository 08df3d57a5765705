"""The location of a pinned encoder's SavedModel, by the decision ``loading`` in its pin."""

# decision 10

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
    """Return the folder of the SavedModel of a pin, and check every byte against the pin.

    With ``mounted``, or without a decision, the folder is next to the pin. With ``baked``, the
    folder is in the image of the environment. With ``downloaded``, the SavedModel is downloaded
    once into a cache; only then a socket is opened.

    Args:
        pin: The pin.
        folder: The folder of the pin.
        where: The command or step, for messages.

    Raises:
        BlocksError: The SavedModel is missing, a file differs, or the download failed.
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
        expected, remedy = "the SavedModel next to its pin", "Import the encoder again"
    else:
        expected = "an image that contains the encoder, because the pin states loading = 'baked'"
        remedy = (
            "Bake the encoder with `tfhub-blocks env bake` and name that environment in the "
            "profile's [environments], or set loading in the pin to mounted or downloaded"
        )
    return BlocksError(where, pin.name, f"folder {saved_model} does not exist", expected, remedy)
