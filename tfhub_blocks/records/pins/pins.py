"""Pins: an encoder's identity, to the byte, and the team's decisions about it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tfhub_blocks.records.base.digests import (
    copy_file,
    files_sha256,
    is_safe_relative_path,
    source_files,
    tree_digest,
)
from tfhub_blocks.records.base.documents import read_document, write_document
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import Format
from tfhub_blocks.records.base.lineage import ALLOWED_FACT

FORMAT = Format("encoder", 1)
PIN_NAME = "encoder.toml"
PIN_VERSION = 1
SAVED_MODEL_FOLDER = "saved_model"
SAVED_MODEL_NAME = "saved_model.pb"
# Inside an encoder's folder: a SavedModel whose output is the input of the encoder.
PREPROCESSOR_FOLDER = "preprocessor"
# The folder of baked encoders in an image; each is in a subfolder named after its digest.
IMAGE_FOLDER = "/opt/tfhub-blocks/encoders"
IMAGE_VARIABLE = "TFHUB_BLOCKS_ENCODERS"

LoadedClass = Literal["reusable", "keras_export", "signature", "tf1_hub"]
Pooling = Literal["none", "mean", "max", "mean_std"]
FactSource = Literal["stated", "passed", "graph", "family", "assumed"]
SOURCE_TEXTS: Mapping[FactSource, str] = {
    "stated": "declared by the publisher",
    "passed": "declared with --facts",
    "graph": "read from the graph",
    "family": "known for the publisher's family",
    "assumed": "assumed",
}
# A pin makes steps import these packages, so a pin may name no others.
OperationPackage = Literal["tensorflow_text"]


@dataclass(frozen=True)
class PinnedFile:
    """One file of an encoder.

    ``sha256`` is the digest in lower-case hexadecimal, and ``size_bytes`` the size.
    """

    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class EncoderOutput:
    """The output of an encoder: float32 [n, dimension].

    ``key`` selects the output from a dictionary, or by its position from a tuple. ``pooling`` joins
    several vectors of an item. ``mean_std`` appends the standard deviations to the means, so
    ``dimension`` is twice that of the encoder's vectors.
    """

    dimension: int
    key: str | None = None
    pooling: Pooling = "none"


@dataclass(frozen=True)
class Training:
    """The number of an encoder's variables, and the facts that fine-tuning needs.

    ``variables`` is the number of all variables.
    ``trainable`` contains names, which may repeat, in the order of the graph from input to output.
    Before the variable at each index of ``cuts``, a single tensor separates the graph: the part
    below that tensor does not change while the part above is trained.
    """

    variables: int
    trainable: tuple[str, ...] = ()
    cuts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Operations:
    """The operations of the graph, and the packages that define them.

    ``used`` are the names of the operations. ``packages`` must be imported before the encoder is
    loaded. ``allowed`` are operations that do more than compute, and that a person allowed by name.
    """

    used: tuple[str, ...]
    packages: tuple[OperationPackage, ...] = ()
    allowed: tuple[str, ...] | None = None

    @property
    def allowed_text(self) -> str:
        """The allowed operations, for people; an empty text if there are none."""
        names = ", ".join(self.allowed or ())
        return f"operations that do more than compute: {names}" if names else ""

    def facts(self) -> dict[str, list[str]]:
        """Return the facts for the lineage of an output: the allowed operations, if any."""
        return {ALLOWED_FACT: list(self.allowed)} if self.allowed else {}


@dataclass(frozen=True)
class Calling:
    """The way in which an encoder is called, if it is not the usual one.

    ``signature`` is the name of the signature. ``switches`` are the arguments that turn training
    off, with their values.
    """

    signature: str | None = None
    switches: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Assumption:
    """A fact about an encoder's input that decides its features.

    ``value`` is the fact, ``source`` its source and ``because`` the reason.
    """

    value: str
    source: FactSource
    because: str

    @property
    def text(self) -> str:
        """The value with its source, for people."""
        return f"{self.value} ({SOURCE_TEXTS[self.source]}: {self.because})"


@dataclass(frozen=True)
class Golden:
    """The encoder's output for fixed items of its modality, recorded when it was pinned.

    ``tensorflow`` is the version that computed the output. Each row of ``values`` contains, for one
    item, the means of up to eight equal parts of its vector. A runtime may deviate by ``tolerance``
    times the largest mean. A larger deviation means that the runtime computes something else.
    """

    values: tuple[tuple[float, ...], ...]
    tolerance: float
    tensorflow: str


@dataclass(frozen=True)
class Decisions:
    """The decisions of a team about an encoder. No decision has a default.

    ``loading`` is the way to the steps: a versioned asset, the image of the environment, or a
    download. ``fine_tuning`` states if the encoder's variables may be trained. ``inference`` states
    if models answer in batches, or requests in real time. ``latency_budget_ms`` is the longest time
    for one item in real time, in milliseconds.
    """

    loading: Literal["mounted", "baked", "downloaded", "undecided"] = "undecided"
    fine_tuning: Literal["forbidden", "allowed", "undecided"] = "undecided"
    inference: Literal["batch", "realtime", "undecided"] = "undecided"
    latency_budget_ms: float | None = None

    @property
    def model_travels(self) -> bool:
        """True if steps pass on the SavedModel with its pin, False if they pass on only the pin."""
        return self.loading in ("mounted", "undecided")

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield each contradiction as key, problem and expectation."""
        key, budget_ms = "latency_budget_ms", self.latency_budget_ms
        if budget_ms is not None and not budget_ms > 0:
            yield key, f"{key} is {budget_ms}", "more than 0"
        if (budget_ms is not None) != (self.inference == "realtime"):
            problem = f"{key} is {budget_ms} and inference is {self.inference}"
            yield key, problem, "milliseconds for one item if inference is realtime, else none"


@dataclass(frozen=True)
class Pin:
    """An encoder's identity, facts and decisions, as in ``encoder.toml``.

    ``name`` is the encoder's name. ``handle`` is its origin. ``loaded_class`` is the kind of
    SavedModel. ``modality`` is the kind of items. ``output``, ``training``, ``operations`` and
    ``golden`` are facts about the SavedModel, which `encoder pin` measures. ``decisions`` are the
    team's. ``calling`` is the way in which the encoder is called, if it is not the usual one.
    ``digest`` is the ``tree_digest`` of ``files``, whose POSIX paths are relative to the
    SavedModel. The modality's adapter in ``compute.modalities`` reads ``input``. ``licence`` is an
    SPDX identifier, the first line of the licence file, or "unknown". ``assumptions`` are the facts
    about the input by name, and ``notes`` are sentences about the output; pins of early versions
    have neither. Example::

        pin = read_pin(Path("encoders/lite0/encoder.toml"))
        print(pin.name, pin.output.dimension)
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
    calling: Calling | None = None
    assumptions: Mapping[str, Assumption] | None = None
    notes: tuple[str, ...] | None = None

    def assumed_facts(self) -> dict[str, dict[str, str]]:
        """Return the assumptions for the lineage of an output, if any."""
        told = {name: each.text for name, each in (self.assumptions or {}).items()}
        return {"assumptions": told} if told else {}

    def write(self, path: Path) -> None:
        """Write the pin as TOML."""
        write_document(path, self, PIN_VERSION)


def read_pin(path: Path) -> Pin:
    """Read a pin. Every key, type and value is checked, and the digest against the listed files.

    The adapter of the modality checks the table ``input`` when an encoder is loaded.

    Raises:
        BlocksError: A key or value is invalid; the error names the first.
    """
    pin = read_document(path, Pin, PIN_VERSION)
    for key, problem, expected in _faults(pin):
        if key.startswith("decisions."):
            remedy = f"Edit {key} in {path}"
        else:
            remedy = f"Restore {path} from git, or run `tfhub-blocks encoder pin` again"
        raise BlocksError(str(path), key, problem, expected, remedy)
    return pin


def files_digest(files: Mapping[str, PinnedFile]) -> str:
    """Return the digest of an encoder with these files."""
    return tree_digest({name: file.sha256 for name, file in files.items()})


def _faults(pin: Pin) -> Iterator[tuple[str, str, str]]:
    """Yield key, problem and expectation of each value that has the right type but is invalid."""
    trainable = len(pin.training.trainable)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", pin.name):
        yield "name", f"name is {pin.name!r}", "letters, digits, '-', '_' and '.'"
    for name, file in pin.files.items():
        if not is_safe_relative_path(name):
            yield f"files.{name}", f"path {name!r} leaves the folder", "a POSIX path below it"
        if not re.fullmatch(r"[0-9a-f]{64}", file.sha256):
            yield f"files.{name}.sha256", f"sha256 is {file.sha256!r}", "64 hexadecimal digits"
    if pin.digest != files_digest(pin.files):
        expected = f"{files_digest(pin.files)}, the digest of the listed files"
        yield "digest", f"digest is {pin.digest!r}", expected
    if pin.output.dimension < 1:
        yield "output.dimension", f"dimension is {pin.output.dimension}", "1 or more"
    if list(pin.training.cuts) != sorted({c for c in pin.training.cuts if 0 < c < trainable}):
        expected = f"rising indices of the {trainable} trainable variables, without the first"
        yield "training.cuts", f"cuts are {list(pin.training.cuts)}", expected
    if not 0 < pin.golden.tolerance < 1:
        expected = "more than 0 and less than 1"
        yield "golden.tolerance", f"tolerance is {pin.golden.tolerance}", expected
    for key, problem, expected in pin.decisions.faults():
        yield f"decisions.{key}", problem, expected


def copy_files(source: Path, target: Path) -> dict[str, PinnedFile]:
    """Copy a folder, and return its files. Digests are of exactly the bytes that were written.

    Links to files become the files that they name.

    Raises:
        BlocksError: An entry is neither a plain file nor a folder.
    """
    copied = {}
    for name, path in source_files(source).items():
        copied[name] = PinnedFile(*copy_file(path, target / name))
    return copied


def hashed_files(folder: Path) -> dict[str, PinnedFile]:
    """Return each file below a folder with its digest and size; every byte is read.

    Raises:
        BlocksError: The folder contains a link, an empty folder or a special file.
    """
    digests = files_sha256(folder)
    return {n: PinnedFile(sha256, (folder / n).stat().st_size) for n, sha256 in digests.items()}


def check_files(pin: Pin, files: Mapping[str, PinnedFile], where: str) -> None:
    """Compare an encoder's files with its pin.

    Raises:
        BlocksError: A file is missing, was added, or has other bytes; the error names the first.
    """
    for name in sorted(pin.files.keys() | files.keys()):
        expected, actual = pin.files.get(name), files.get(name)
        if expected != actual:
            raise BlocksError(
                where,
                name,
                f"file {name} has {_text(actual)}" if actual else f"file {name} is missing",
                f"{_text(expected)}, as pinned" if expected else "only the pinned files",
                "Download the pinned encoder again; or review this one, and run `tfhub-blocks "
                "encoder pin`",
            )


def _text(file: PinnedFile) -> str:
    return f"sha256 {file.sha256} and {file.size_bytes} bytes"
