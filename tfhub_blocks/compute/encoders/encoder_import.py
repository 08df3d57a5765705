"""Imports: from a folder or an address to a verified, loaded and pinned encoder.

TensorFlow is imported only to load a SavedModel, so a request can be refused without TensorFlow.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.compute.encoders.encoder_loading import pinned_saved_model
from tfhub_blocks.compute.sources.fetching import LOCAL_SOURCES, REMOTE_SOURCES, fetch_saved_model
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.redaction import redacted
from tfhub_blocks.records.pins.handles import canonical_handle
from tfhub_blocks.records.pins.pins import (
    PIN_NAME,
    PREPROCESSOR_FOLDER,
    SAVED_MODEL_FOLDER,
    SAVED_MODEL_NAME,
    Pin,
    PinnedFile,
    check_files,
    copy_files,
    read_pin,
)

WHERE = "import_encoder"
# Names of inputs by which an encoder of tokens is known.
TOKEN_NAMES = (b"input_word_ids", b"input_ids", b"input_mask", b"attention_mask", b"token_ids")


@dataclass(frozen=True)
class ImportRequest:
    """A request to import an encoder from a folder or an address, with or without a pin.

    ``unpinned`` decides about an encoder without a pin: "accept" or "refuse". ``facts`` describes
    such an encoder, in the form that ``parse_facts`` reads. ``follow_links`` allows links that lead
    out of the folder ``source``.
    """

    source: str | None
    handle: str | None
    pin: str | None
    unpinned: str
    facts: str | None = None
    follow_links: bool = False


def import_saved_model(request: ImportRequest, folder: Path) -> Pin:
    """Copy an encoder into an empty folder, verify and load the copy, and return its pin.

    Without a pin, and with ``unpinned`` "accept", the pin is created from the copy. If the pin
    decides ``baked`` or ``downloaded``, only the pin remains in the folder. Then a request may also
    contain only the pin, and the SavedModel to which the pin refers is verified and loaded.

    Raises:
        BlocksError: The request has no origin or two, or no pin; a file differs from the pin; or
            the SavedModel cannot serve as an encoder, or differs from the pin's facts.
    """
    origins = [bool(request.source), bool(request.handle)]
    if all(origins) or not any([*origins, request.pin]):
        raise _not_one(request)
    if request.source and not request.follow_links:
        refuse_links(request.source)
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
            files = {**copy_files(fetched, copy), **_preprocessor(fetched, copy, request)}
    if pin is None:
        pin = _new_pin(request, saved_model, files)
        pin.write(folder / PIN_NAME)
        return pin
    check_files(pin, files, WHERE)

    from tfhub_blocks.compute.encoders.encoder_facts import check_facts, told_facts
    from tfhub_blocks.compute.encoders.first_loading import inspect_apart

    seen = inspect_apart(saved_model, pin.handle, pin.name, told_facts(pin), files)
    check_facts(pin, seen, WHERE)
    if not pin.decisions.model_travels:
        shutil.rmtree(copy, ignore_errors=True)
    pin.write(folder / PIN_NAME)
    return pin


def links_out(source: str) -> dict[str, str]:
    """Return the targets of the links that lead out of an encoder's folder, by their paths."""
    root, found = os.path.realpath(source), {}
    for parent, folders, files in os.walk(source):
        for name in (*folders, *files):
            path = Path(parent, name)
            target = os.path.realpath(path) if path.is_symlink() else root
            if os.path.commonpath([root, target]) != root:
                found[known_text(path.relative_to(source).as_posix())] = known_text(target)
    return dict(sorted(found.items()))


def refuse_links(source: str) -> None:
    """Refuse an encoder's folder with a link that leads out of it.

    Raises:
        BlocksError: The folder contains such a link.
    """
    for name, target in links_out(source).items():
        raise BlocksError(
            WHERE,
            "source",
            f"{name!r} is a link that leads out of the encoder's folder, to {target!r}",
            "files in the encoder's folder",
            "Replace the link by the file, or set follow_links to true (encoder pin:"
            " --follow-links)",
        )


def known_text(path: str) -> str:
    """Return a path as records keep it: without a credential, and valid in any file."""
    return redacted(path.encode("utf-8", "backslashreplace").decode())


def _preprocessor(fetched: Path, copy: Path, request: ImportRequest) -> dict[str, PinnedFile]:
    """Copy the preprocessor that lies beside an encoder of tokens, and return its files."""
    inside = copy / PREPROCESSOR_FOLDER
    if inside.exists() or not (copy / SAVED_MODEL_NAME).is_file():
        return {}
    content = (copy / SAVED_MODEL_NAME).read_bytes()
    if not any(name in content for name in TOKEN_NAMES):
        return {}
    near = [*fetched.iterdir(), *fetched.resolve().parent.iterdir()]
    found = sorted(
        path
        for path in near
        if re.search(r"pre_?process|tokeni[sz]er", path.name, re.IGNORECASE)
        and (path / SAVED_MODEL_NAME).is_file()
        and path.resolve() != fetched.resolve()
    )
    if len(found) != 1:
        return {}
    if not request.follow_links:
        refuse_links(str(found[0]))
    files = copy_files(found[0], inside)
    return {f"{PREPROCESSOR_FOLDER}/{name}": file for name, file in files.items()}


def _not_one(request: ImportRequest) -> BlocksError:
    return BlocksError(
        WHERE,
        "source, handle",
        "both source and handle are set" if request.source else "neither source nor handle is set",
        "exactly one of them",
        "Pass a folder as source, or an address as handle",
    )


def _is_pin_alone(request: ImportRequest) -> bool:
    """Return True if the request contains only a pin."""
    names = (SAVED_MODEL_NAME, SAVED_MODEL_FOLDER)
    source = Path(request.source) if request.source else None
    has_model = source and (source.is_file() or any((source / name).exists() for name in names))
    return not request.handle and not has_model


def _given_pin(request: ImportRequest) -> Pin | None:
    """Return the pin at the port or in the source, or None if ``unpinned`` accepts no pin."""
    path = Path(request.pin) if request.pin else Path(request.source or "") / PIN_NAME
    if request.pin is None and (request.source is None or not path.is_file()):
        if request.unpinned == "accept":
            return None
        raise BlocksError(
            WHERE,
            request.handle or str(request.source),
            f"this encoder has no pin ({PIN_NAME}), so its bytes cannot be verified",
            f"a pin at port pin, or {PIN_NAME} next to {SAVED_MODEL_FOLDER}/ in source",
            "Pass a pin, or set unpinned=accept once, review the pin that is printed, and keep it",
        )
    if request.facts:
        raise BlocksError(
            WHERE,
            "facts",
            f"facts are {request.facts!r}, but the encoder has a pin",
            "no facts for an encoder with a pin",
            "Leave facts out, or change the pin",
        )
    return read_pin(path)


def _new_pin(request: ImportRequest, saved_model: Path, files: Mapping[str, PinnedFile]) -> Pin:
    from tfhub_blocks.compute.encoders.encoder_facts import parse_facts
    from tfhub_blocks.compute.encoders.first_loading import inspect_apart

    # Only the last part of the path, because the path differs between runs and the pin must not.
    named = request.handle and canonical_handle(request.handle)
    origin = named or f"folder:{Path(str(request.source)).name}"
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", re.sub(r"^https?://[^/]*/|^folder:", "", origin))
    name = name.strip("-_.") or "encoder"
    return inspect_apart(saved_model, origin, name, parse_facts(request.facts), files)
