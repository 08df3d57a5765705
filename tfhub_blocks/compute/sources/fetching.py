"""Fetching an encoder by its handle, from the first source that takes it."""

import os
from collections.abc import Sequence
from pathlib import Path

from tfhub_blocks.compute.sources.asset_source import AssetSource
from tfhub_blocks.compute.sources.encoder_source import MAX_BYTES, EncoderSource
from tfhub_blocks.compute.sources.folder_source import FolderSource
from tfhub_blocks.compute.sources.hub_source import HubSource
from tfhub_blocks.compute.sources.kaggle_source import KaggleSource
from tfhub_blocks.compute.sources.mlflow_source import MlflowSource
from tfhub_blocks.compute.sources.unpacking import ArchiveSource
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import SAVED_MODEL_FOLDER, SAVED_MODEL_NAME, Pin

# In the order in which they are tried.
LOCAL_SOURCES: tuple[EncoderSource, ...] = (FolderSource(), ArchiveSource())
REMOTE_SOURCES: tuple[EncoderSource, ...] = (
    HubSource(),
    KaggleSource(),
    MlflowSource(),
    AssetSource(),
)
NO_CERTIFICATES = "TFHUB_DISABLE_CERT_VALIDATION"
# Beside what is pinned an archive may hold a little, which the pin then names.
_SLACK_BYTES = 2**26


def fetch_saved_model(
    handle: str, folder: Path, sources: Sequence[EncoderSource], pin: Pin | None
) -> Path:
    """The folder of the SavedModel that a handle means, not yet compared with anything.

    Args:
        handle: The handle.
        folder: Where to put what is fetched; it may be absent, and is filled unless the files are
            on this machine already.
        sources: Where to look, in order.
        pin: What will be compared, if there is a pin: nothing much larger is fetched.

    Raises:
        BlocksError: No source takes the handle, or the one that does cannot give a SavedModel.
    """
    if NO_CERTIFICATES in os.environ:
        raise BlocksError(
            "encoder",
            NO_CERTIFICATES,
            "it is set, so anyone on the way could put in another model",
            "an environment without it",
            "unset it; for a private certificate authority set SSL_CERT_FILE",
        )
    source = next((source for source in sources if source.matches(handle)), None)
    if source is None:
        raise BlocksError(
            "encoder",
            handle,
            "no source takes it",
            "; ".join(source.takes for source in sources),
            "correct it",
        )
    folder.mkdir(parents=True, exist_ok=True)
    pinned_bytes = sum(file.size_bytes for file in pin.files.values()) if pin else None
    max_bytes = MAX_BYTES if pinned_bytes is None else pinned_bytes + _SLACK_BYTES
    return saved_model_below(source.fetch(handle, folder, max_bytes), handle)


def saved_model_below(folder: Path, where: str) -> Path:
    """The one SavedModel in a folder: at its top, in ``saved_model``, or anywhere below.

    Raises:
        BlocksError: There is none, or more than one.
    """
    for near in (folder, folder / SAVED_MODEL_FOLDER):
        if (near / SAVED_MODEL_NAME).is_file():
            return near
    if (folder / SAVED_MODEL_FOLDER).is_dir():  # The pin names what it lacks.
        return folder / SAVED_MODEL_FOLDER
    found = sorted(path.parent for path in folder.rglob(SAVED_MODEL_NAME))
    if len(found) == 1:
        return found[0]
    names = ", ".join(str(path.relative_to(folder)) for path in found[:3])
    raise BlocksError(
        where,
        SAVED_MODEL_NAME,
        f"there are {len(found)} below it ({names})" if found else "there is none below it",
        "the folder of one SavedModel",
        "give the folder that tf.saved_model.save or the download made",
    )
