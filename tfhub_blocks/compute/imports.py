"""Imports: from a folder or an address to an encoder that is verified, loaded and pinned."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.compute.handles import resolve_handle
from tfhub_blocks.compute.inspection import check_facts, inspect_encoder, parse_facts, told_facts
from tfhub_blocks.compute.saved_objects import SAVED_MODEL_NAME
from tfhub_blocks.records.errors import BlocksError
from tfhub_blocks.records.pins import (
    PIN_NAME,
    SAVED_MODEL_FOLDER,
    Pin,
    PinnedFile,
    check_files,
    copy_files,
    read_pin,
)

WHERE = "import_encoder"


@dataclass(frozen=True)
class Request:
    """What to import: a folder or an address, its pin, and what to do if it has none.

    ``facts`` is what is told of an encoder without a pin, as ``parse_facts`` reads it.
    """

    source: str | None
    handle: str | None
    pin: str | None
    unpinned: str
    facts: str | None = None


def import_saved_model(request: Request, folder: Path) -> Pin:
    """Copy an encoder into an empty folder, verified and loaded; give its pin.

    What is verified and what is loaded are both the copy. Without a pin, and with ``unpinned``
    "accept", the pin is made from the copy.

    Raises:
        BlocksError: Not exactly one origin was given; there is no pin; a file differs from it; the
            SavedModel cannot serve as an encoder, or not as the one that the pin describes.
    """
    if (request.source is None) == (request.handle is None):
        raise BlocksError(
            WHERE,
            "source, handle",
            "neither is given" if request.source is None else "both are given",
            "exactly one of them",
            "give a folder as source, or an address as handle",
        )
    pin = _given_pin(request)
    saved_model = folder / SAVED_MODEL_FOLDER
    with tempfile.TemporaryDirectory() as cache:
        files = copy_files(_saved_model(request, Path(cache)), saved_model)
    if pin is None:
        pin = _new_pin(request, saved_model, files)
        pin.write(folder / PIN_NAME)
        return pin
    check_files(pin, files, WHERE)
    seen = inspect_encoder(saved_model, pin.handle, pin.name, told_facts(pin), files)
    check_facts(pin, seen, WHERE)
    pin.write(folder / PIN_NAME)
    return pin


def _given_pin(request: Request) -> Pin | None:
    """The pin at the port, else the one in the source; None where ``unpinned`` accepts that."""
    path = Path(request.pin) if request.pin else Path(request.source or "") / PIN_NAME
    if request.pin is None and (request.source is None or not path.is_file()):
        if request.unpinned == "accept":
            return None
        raise BlocksError(
            WHERE,
            request.handle or str(request.source),
            f"this encoder has no pin ({PIN_NAME}), so its bytes could be anyone's",
            f"a pin at port pin, or {PIN_NAME} beside {SAVED_MODEL_FOLDER}/ in source",
            "give one, or set unpinned=accept once to make it, and review and keep what it prints",
        )
    if request.facts:
        raise BlocksError(
            WHERE,
            "facts",
            f"they are {request.facts!r}, while there is a pin",
            "no facts where there is a pin",
            "leave them out, or change the pin",
        )
    return read_pin(path)


def _saved_model(request: Request, cache: Path) -> Path:
    """The SavedModel's folder, which may be one level down in a pinned source."""
    if request.source is None:
        return resolve_handle(str(request.handle), cache)
    source = Path(request.source)
    for folder in (source, source / SAVED_MODEL_FOLDER):
        if (folder / SAVED_MODEL_NAME).is_file():
            return folder
    if (source / SAVED_MODEL_FOLDER).is_dir():  # The pin names what it lacks.
        return source / SAVED_MODEL_FOLDER
    raise BlocksError(
        WHERE,
        f"source {source}",
        f"there is no {SAVED_MODEL_NAME} at its top, and no folder {SAVED_MODEL_FOLDER}",
        "a SavedModel's folder",
        "give the folder that tf.saved_model.save or the download made",
    )


def _new_pin(request: Request, saved_model: Path, files: dict[str, PinnedFile]) -> Pin:
    # Not the source's whole path: that differs from run to run, and the pin shall not.
    origin = request.handle or f"folder:{Path(str(request.source)).name}"
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", re.sub(r"^https?://[^/]*/|^folder:", "", origin))
    name = name.strip("-_.") or "encoder"
    return inspect_encoder(saved_model, origin, name, parse_facts(request.facts), files)
