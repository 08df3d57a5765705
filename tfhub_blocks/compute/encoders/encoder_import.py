"""Imports: from a folder or an address to an encoder that is verified, loaded and pinned.

TensorFlow is imported when there is something to load: what is refused is refused without it.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.compute.encoders.encoder_loading import pinned_saved_model
from tfhub_blocks.compute.sources.fetching import LOCAL_SOURCES, REMOTE_SOURCES, fetch_saved_model
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.handles import canonical_handle
from tfhub_blocks.records.pins.pins import (
    PIN_NAME,
    SAVED_MODEL_FOLDER,
    SAVED_MODEL_NAME,
    Pin,
    PinnedFile,
    check_files,
    copy_files,
    read_pin,
)

WHERE = "import_encoder"


@dataclass(frozen=True)
class ImportRequest:
    """What to import: a folder or an address, its pin, and what to do if it has none.

    ``facts`` is what is told of an encoder without a pin, as ``parse_facts`` reads it.
    """

    source: str | None
    handle: str | None
    pin: str | None
    unpinned: str
    facts: str | None = None


def import_saved_model(request: ImportRequest, folder: Path) -> Pin:
    """Copy an encoder into an empty folder, verified and loaded; give its pin.

    What is verified and what is loaded are both the copy. Without a pin, and with ``unpinned``
    "accept", the pin is made from the copy. Where the pin decides that the SavedModel does not
    travel (``baked``, ``downloaded``), the pin alone is left, and the pin alone may be given: then
    what is verified and loaded is what the pin means.

    Raises:
        BlocksError: Not exactly one origin was given; there is no pin; a file differs from it; the
            SavedModel cannot serve as an encoder, or not as the one that the pin describes.
    """
    origins = [bool(request.source), bool(request.handle)]
    if all(origins) or not any([*origins, request.pin]):
        raise _not_one(request)
    pin = _given_pin(request)
    saved_model = copy = folder / SAVED_MODEL_FOLDER
    if pin and not pin.decisions.model_travels and _is_pin_alone(request):
        saved_model = pinned_saved_model(pin, folder, WHERE)
        files: Mapping[str, PinnedFile] = pin.files
    elif not any(origins):
        raise _not_one(request)
    else:
        with tempfile.TemporaryDirectory() as cache:
            fetched = fetch_saved_model(
                str(request.source or request.handle),
                Path(cache),
                LOCAL_SOURCES if request.source else REMOTE_SOURCES,
                pin,
            )
            files = copy_files(fetched, copy)
    if pin is None:
        pin = _new_pin(request, saved_model, files)
        pin.write(folder / PIN_NAME)
        return pin
    check_files(pin, files, WHERE)

    from tfhub_blocks.compute.encoders.encoder_facts import check_facts, told_facts
    from tfhub_blocks.compute.encoders.inspection import inspect_encoder

    seen = inspect_encoder(saved_model, pin.handle, pin.name, told_facts(pin), files)
    check_facts(pin, seen, WHERE)
    if not pin.decisions.model_travels:
        shutil.rmtree(copy, ignore_errors=True)
    pin.write(folder / PIN_NAME)
    return pin


def _not_one(request: ImportRequest) -> BlocksError:
    return BlocksError(
        WHERE,
        "source, handle",
        "both are given" if request.source else "neither is given",
        "exactly one of them",
        "give a folder as source, or an address as handle",
    )


def _is_pin_alone(request: ImportRequest) -> bool:
    """Whether nothing but a pin is given to import."""
    names = (SAVED_MODEL_NAME, SAVED_MODEL_FOLDER)
    source = Path(request.source) if request.source else None
    has_model = source and (source.is_file() or any((source / name).exists() for name in names))
    return not request.handle and not has_model


def _given_pin(request: ImportRequest) -> Pin | None:
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


def _new_pin(request: ImportRequest, saved_model: Path, files: Mapping[str, PinnedFile]) -> Pin:
    from tfhub_blocks.compute.encoders.encoder_facts import parse_facts
    from tfhub_blocks.compute.encoders.inspection import inspect_encoder

    # Not the source's whole path: that differs from run to run, and the pin shall not.
    named = request.handle and canonical_handle(request.handle)
    origin = named or f"folder:{Path(str(request.source)).name}"
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", re.sub(r"^https?://[^/]*/|^folder:", "", origin))
    name = name.strip("-_.") or "encoder"
    return inspect_encoder(saved_model, origin, name, parse_facts(request.facts), files)
