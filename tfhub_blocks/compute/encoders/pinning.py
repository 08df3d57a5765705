"""Pinning: from a handle to a folder with a pin, and checks of a pinned encoder."""

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tfhub_blocks.compute.encoders.encoder_import import (
    ImportRequest,
    import_saved_model,
    refuse_links,
)
from tfhub_blocks.compute.encoders.encoder_loading import pinned_saved_model
from tfhub_blocks.compute.sources.fetching import LOCAL_SOURCES, REMOTE_SOURCES, fetch_saved_model
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
    follow_links: bool = False,
) -> Pin:
    """Fetch and inspect an encoder, write it with its pin into a new folder, and return the pin.

    The folder is complete or absent. The folder's name is the encoder's name.

    Args:
        handle: The handle of the encoder, for any source.
        folder: The folder to create.
        decisions: The decisions of the team.
        with_model: True to keep the SavedModel next to the pin.
        facts: Facts that the SavedModel does not contain (docs/modalities.md).
        fetched: The folder of the files, if they were fetched for this handle already.
        follow_links: True to read files outside of a local folder to which links lead.

    Raises:
        BlocksError: The folder exists, the handle leads to no encoder, or the decisions do not fit
            the handle.
    """
    is_local = any(source.matches(handle) for source in LOCAL_SOURCES)
    if folder.exists():
        raise BlocksError(
            WHERE,
            f"--to {folder}",
            f"{folder} exists already",
            "",
            "Pass another folder with --to, or delete this one",
        )
    for key, problem, expected in decisions.faults():
        remedy = "Pass --latency-budget-ms together with --inference realtime, or neither of them"
        raise BlocksError(WHERE, key, problem, expected, remedy)
    if decisions.loading == "downloaded" and (is_local or fetched):
        raise BlocksError(
            WHERE,
            "--loading downloaded",
            f"a step cannot download {handle!r}",
            "a handle of TF Hub, Kaggle or MLflow",
            "Pass --loading mounted or --loading baked",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
        sources = (*LOCAL_SOURCES, *REMOTE_SOURCES)
        source = fetched or fetch_saved_model(handle, Path(temporary) / "fetched", sources, None)
        partial = Path(temporary) / "pinned"
        if Path(handle).is_dir() and not follow_links:
            refuse_links(handle)
        request = ImportRequest(str(source), None, None, "accept", facts, follow_links)
        seen = import_saved_model(request, partial)
        kind = "folder" if Path(handle).is_dir() else "file"
        named = f"{kind}:{Path(handle).name}" if is_local else canonical_handle(handle)
        pin = replace(seen, name=folder.name, handle=named, decisions=decisions)
        pin.write(partial / PIN_NAME)
        read_pin(partial / PIN_NAME)  # Raises if the pin has an invalid name.
        if not with_model:
            shutil.rmtree(partial / SAVED_MODEL_FOLDER)
        partial.rename(folder)
    return pin


def verify_encoder(folder: Path) -> Pin:
    """Compare each byte and each fact of an encoder with its pin, and return the pin.

    For a pin without files that decides ``downloaded`` or ``baked``, the files of the cache or of
    the image are compared.

    Raises:
        BlocksError: A byte or a fact differs; the message contains the first difference.
    """
    with tempfile.TemporaryDirectory() as temporary:
        request = ImportRequest(str(folder), None, None, "refuse", None)
        return import_saved_model(request, Path(temporary) / "seen")


def measured_load_s(folder: Path, pin: Pin) -> float:
    """Measure the seconds to verify and load an encoder, without the start of TensorFlow."""
    from tfhub_blocks.compute.encoders.encoder import load_as_pinned
    from tfhub_blocks.compute.tf.operations import import_packages

    where = "encoder show"
    import_packages(pin.operations.packages, where)
    begun = time.monotonic()
    load_as_pinned(pin, pinned_saved_model(pin, folder, where), where)
    return time.monotonic() - begun
