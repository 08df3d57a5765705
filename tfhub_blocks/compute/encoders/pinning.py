"""Pinning: from a handle to a folder with a pin, and what is seen of one that has been pinned."""

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model
from tfhub_blocks.compute.encoders.encoder_loading import pinned_saved_model
from tfhub_blocks.compute.sources.fetching import LOCAL_SOURCES, REMOTE_SOURCES, fetch_saved_model
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.handles import canonical_handle
from tfhub_blocks.records.pins.pins import PIN_NAME, SAVED_MODEL_FOLDER, Decisions, Pin, read_pin

WHERE = "encoder pin"


def pin_encoder(
    handle: str,
    folder: Path,
    decisions: Decisions,
    with_model: bool = True,
    facts: str | None = None,
    fetched: Path | None = None,
) -> Pin:
    """Fetch an encoder, inspect it, and write its pin and itself into a new folder; give the pin.

    The folder is complete or absent; the encoder is called as it.

    Args:
        handle: Where the encoder is: what any source takes.
        folder: The folder.
        decisions: What the team decided.
        with_model: Whether to keep the SavedModel beside the pin.
        facts: What a SavedModel does not say of itself (docs/modalities.md).
        fetched: Where the files are, if someone has fetched them for this handle already.

    Raises:
        BlocksError: There is something at the folder, the handle gives no encoder, or the decisions
            cannot be kept with it.
    """
    is_local = any(source.matches(handle) for source in LOCAL_SOURCES)
    if folder.exists():
        raise BlocksError(
            WHERE, f"--to {folder}", "it is there already", "a new folder", "name another"
        )
    for key, problem, expected in decisions.faults():
        raise BlocksError(WHERE, key, problem, expected, "correct it")
    if decisions.loading == "downloaded" and (is_local or fetched):
        raise BlocksError(
            WHERE,
            "--loading downloaded",
            f"a step could not download {handle!r}",
            "a handle of TF Hub, Kaggle or MLflow",
            "decide for mounted or baked",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
        sources = (*LOCAL_SOURCES, *REMOTE_SOURCES)
        source = fetched or fetch_saved_model(handle, Path(temporary) / "fetched", sources, None)
        partial = Path(temporary) / "pinned"
        seen = import_saved_model(ImportRequest(str(source), None, None, "accept", facts), partial)
        kind = "folder" if Path(handle).is_dir() else "file"
        named = f"{kind}:{Path(handle).name}" if is_local else canonical_handle(handle)
        pin = replace(seen, name=folder.name, handle=named, decisions=decisions)
        pin.write(partial / PIN_NAME)
        read_pin(partial / PIN_NAME)  # A name that no pin may have is found now.
        if not with_model:
            shutil.rmtree(partial / SAVED_MODEL_FOLDER)
        partial.rename(folder)
    return pin


def verify_encoder(folder: Path) -> Pin:
    """Hold an encoder against its pin, each byte and each fact; give the pin.

    A pin that is alone and decides ``downloaded`` or ``baked`` is followed to where the files are.

    Raises:
        BlocksError: The first thing that differs.
    """
    with tempfile.TemporaryDirectory() as temporary:
        request = ImportRequest(str(folder), None, None, "refuse", None)
        return import_saved_model(request, Path(temporary) / "seen")


def measured_load_s(folder: Path, pin: Pin) -> float:
    """Seconds to verify and load an encoder, without what TensorFlow itself takes to start."""
    begun = time.monotonic()
    tf.saved_model.load(str(pinned_saved_model(pin, folder, "encoder show")))
    return time.monotonic() - begun
