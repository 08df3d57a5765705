"""Sample encoders with their pins, as a team would keep them."""

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
    """Write an encoder with its pin; give the pin. The folder is complete or absent.

    Args:
        folder: Where to write; it must not be there.
        write: Writes the bare SavedModel into a folder.
        name: What to call the encoder.
        handle: Where its weights come from.
        facts: What is told of it.

    Raises:
        BlocksError: The folder is there already, or what ``write`` raises.
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
    """Make sure that a folder can be made.

    Raises:
        BlocksError: It is there already.
    """
    if folder.exists():
        raise BlocksError(
            "samples",
            str(folder),
            "it is there already",
            "a new folder",
            "delete it or name another",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
