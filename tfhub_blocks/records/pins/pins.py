"""Pins: which encoder is meant, to the byte, and what a team decided about it."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tfhub_blocks.records.base.digests import (
    files_sha256,
    folder_files,
    is_safe_relative_path,
    tree_digest,
)
from tfhub_blocks.records.base.documents import read_document, write_document
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Format

FORMAT = Format("encoder", 1)
PIN_NAME = "encoder.toml"
PIN_VERSION = 1
SAVED_MODEL_FOLDER = "saved_model"
SAVED_MODEL_NAME = "saved_model.pb"
CHUNK_BYTES = 2**20
# Where an image holds the encoders that were baked into it, each below its digest.
IMAGE_FOLDER = "/opt/tfhub-blocks/encoders"
IMAGE_VARIABLE = "TFHUB_BLOCKS_ENCODERS"

LoadedClass = Literal["reusable", "keras_export", "signature", "tf1_hub"]
Pooling = Literal["none", "mean", "max", "mean_std"]
# Imported where a pin names them, so only these can be named.
OperationPackage = Literal["tensorflow_text"]


@dataclass(frozen=True)
class PinnedFile:
    """One file of an encoder: SHA-256 in lower-case hexadecimal, and size."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class EncoderOutput:
    """What an encoder gives: float32 [n, dimension].

    Under a key if it gives a dictionary, under its position if a tuple; by ``pooling`` if it gives
    several vectors for an item. ``mean_std`` puts the standard deviations behind the means, so
    ``dimension`` is twice that of the encoder's own vectors.
    """

    dimension: int
    key: str | None = None
    pooling: Pooling = "none"


@dataclass(frozen=True)
class Training:
    """How many variables an encoder has, and what fine-tuning has to know of them.

    ``trainable`` are the names, which need not be unique, in the order in which the graph from
    input to output comes upon them. Before the variable at each index of ``cuts``, one single
    tensor separates the graph: what lies below it does not change while the rest is trained.
    """

    variables: int
    trainable: tuple[str, ...] = ()
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Operations:
    """The operations of the graph, and the packages that must be imported to have them."""

    used: tuple[str, ...]
    packages: tuple[OperationPackage, ...] = ()


@dataclass(frozen=True)
class Golden:
    """What the encoder gave for its modality's fixed items, when it was pinned.

    A row an item: the means of up to eight equal parts of its vector. They may differ by
    ``tolerance`` times the largest of them; more means that the runtime computes something else.
    """

    values: tuple[tuple[float, ...], ...]
    tolerance: float
    tensorflow: str


@dataclass(frozen=True)
class Decisions:
    """What a team takes on purpose; nothing is decided by default."""

    loading: Literal["mounted", "baked", "downloaded", "undecided"] = "undecided"
    fine_tuning: Literal["forbidden", "allowed", "undecided"] = "undecided"
    inference: Literal["batch", "realtime", "undecided"] = "undecided"
    latency_budget_ms: float | None = None

    @property
    def model_travels(self) -> bool:
        """Whether the SavedModel goes from step to step beside its pin, or the pin alone."""
        return self.loading in ("mounted", "undecided")

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Key, problem and expectation of what does not fit together."""
        budget_ms = self.latency_budget_ms
        if budget_ms is not None and not budget_ms > 0:
            yield "latency_budget_ms", f"it is {budget_ms}", "more than 0"
        if (budget_ms is not None) != (self.inference == "realtime"):
            told = f"it is {budget_ms} where inference is {self.inference}"
            yield "latency_budget_ms", told, "milliseconds for one item, for realtime alone"


@dataclass(frozen=True)
class Pin:
    """An encoder's identity and facts, as in ``encoder.toml``.

    ``digest`` is ``tree_digest`` over ``files``, whose POSIX paths are relative to the SavedModel.
    ``input`` is what the modality's adapter in ``compute.modalities`` reads. ``licence`` is an SPDX
    identifier, the first line of the licence that was found, or "unknown".
    """

    name: str
    handle: str
    digest: str
    loaded_class: LoadedClass
    modality: str
    licence: str
    input: Mapping[str, Any]
    output: EncoderOutput
    training: Training
    operations: Operations
    golden: Golden
    files: Mapping[str, PinnedFile]
    decisions: Decisions = Decisions()

    def write(self, path: Path) -> None:
        """Write it as TOML."""
        write_document(path, self, PIN_VERSION)


def read_pin(path: Path) -> Pin:
    """A pin, with every key, type and value checked, and its digest against its files.

    The table ``input`` is checked by the adapter of its modality, when an encoder is loaded.

    Raises:
        BlocksError: The first thing that is wrong, with its key.
    """
    pin = read_document(path, Pin, PIN_VERSION)
    for key, problem, expected in _faults(pin):
        raise BlocksError(str(path), key, problem, expected, "correct it, or pin the encoder anew")
    return pin


def files_digest(files: Mapping[str, PinnedFile]) -> str:
    """The digest of an encoder with these files."""
    return tree_digest({name: file.sha256 for name, file in files.items()})


def _faults(pin: Pin) -> Iterator[tuple[str, str, str]]:
    """Key, problem and expectation of each value that its type alone does not rule out."""
    trainable = len(pin.training.trainable)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", pin.name):
        yield "name", f"it is {pin.name!r}", "letters, digits, '-', '_' and '.'"
    for name, file in pin.files.items():
        if not is_safe_relative_path(name):
            yield f"files.{name}", "this path leaves the folder", "a POSIX path below it"
        if not re.fullmatch(r"[0-9a-f]{64}", file.sha256):
            yield f"files.{name}.sha256", f"it is {file.sha256!r}", "64 hexadecimal digits"
    if pin.digest != files_digest(pin.files):
        yield "digest", f"it is {pin.digest!r}", f"{files_digest(pin.files)}, as the files give"
    if pin.output.dimension < 1:
        yield "output.dimension", f"it is {pin.output.dimension}", "1 or more"
    if list(pin.training.cuts) != sorted({c for c in pin.training.cuts if 0 < c < trainable}):
        expected = f"rising indices of the {trainable} trainable variables, without the first"
        yield "training.cuts", f"it is {list(pin.training.cuts)}", expected
    if not 0 < pin.golden.tolerance < 1:
        yield "golden.tolerance", f"it is {pin.golden.tolerance}", "more than 0 and less than 1"
    for key, problem, expected in pin.decisions.faults():
        yield f"decisions.{key}", problem, expected


def copy_files(source: Path, target: Path) -> dict[str, PinnedFile]:
    """Copy a folder; give what was copied, hashed from the very bytes that were written.

    Links to files become the files that they name.

    Raises:
        BlocksError: Something in it is no plain file or folder.
    """
    copied = {}
    for name, path in folder_files(source):
        destination = target / name
        destination.parent.mkdir(parents=True, exist_ok=True)
        digest, size_bytes = hashlib.sha256(), 0
        with path.open("rb") as reader, destination.open("wb") as writer:
            while chunk := reader.read(CHUNK_BYTES):
                digest.update(chunk)
                size_bytes += writer.write(chunk)
        copied[name] = PinnedFile(digest.hexdigest(), size_bytes)
    return copied


def hashed_files(folder: Path) -> dict[str, PinnedFile]:
    """Each file below a folder, every byte read."""
    digests = files_sha256(folder)
    return {n: PinnedFile(sha256, (folder / n).stat().st_size) for n, sha256 in digests.items()}


def check_files(pin: Pin, files: Mapping[str, PinnedFile], where: str) -> None:
    """Hold the files that there are against those that are pinned.

    Raises:
        BlocksError: A file is missing, was added, or has other bytes: the first of them, named.
    """
    for name in sorted(pin.files.keys() | files.keys()):
        expected, actual = pin.files.get(name), files.get(name)
        if expected != actual:
            raise BlocksError(
                where,
                name,
                f"this file has {_told(actual)}" if actual else "this file is missing",
                f"{_told(expected)} as pinned" if expected else "no such file, none is pinned",
                "get the encoder that was pinned, or review this one and pin it anew",
            )


def _told(file: PinnedFile) -> str:
    return f"sha256 {file.sha256} and {file.size_bytes} bytes"
