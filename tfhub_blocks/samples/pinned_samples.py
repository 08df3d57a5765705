"""Sample encoders with their pins, in the layout that a team would keep."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tfhub_blocks.compute.encoders.encoder_import import ImportRequest, import_saved_model
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import PIN_NAME, Pin


def write_pinned(
    folder: Path, write: Callable[[Path], None], name: str, handle: str, facts: str
) -> Pin:
    """Write an encoder with its pin, and return the pin. The folder is complete or absent.

    Args:
        folder: The new folder.
        write: A function that writes the bare SavedModel into a folder.
        name: The name of the encoder.
        handle: The source of its weights.
        facts: Facts that the SavedModel does not contain, as NAME=VALUE separated by commas.

    Raises:
        BlocksError: The folder exists already, or ``write`` fails.
    """
    refuse_existing(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
        bare, pinned = Path(temporary) / name, Path(temporary) / "pinned"
        write(bare)
        seen = import_saved_model(ImportRequest(str(bare), None, None, "accept", facts), pinned)
        pin = replace(seen, handle=handle)
        pin.write(pinned / PIN_NAME)
        pinned.rename(folder)
    return pin


def refuse_existing(folder: Path) -> None:
    """Check that a folder does not exist yet, and create its parents.

    Raises:
        BlocksError: The folder exists already.
    """
    if folder.exists():
        raise BlocksError(
            "samples",
            str(folder),
            f"{folder} exists already",
            "a new folder",
            f"Pass another folder, or delete {folder}",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
