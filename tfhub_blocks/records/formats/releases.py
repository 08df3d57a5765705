"""Release locks: all resolved inputs of a run of a pipeline, pinned in one file."""

# decision 62

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import tomli_w

from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.documents import VERSION_KEY, as_record, read_document
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file

FORMAT_VERSION = 1
SUFFIX = ".lock.toml"
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# A name or version in a reference. Locations, labels and complete references do not match.
_ASSET_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEAD = "# Written by `tfhub-blocks lock`. Compare two locks with `tfhub-blocks lock diff A B`.\n"


@dataclass(frozen=True)
class LockedData:
    """A version of a data asset. ``digest`` covers all its content."""

    name: str
    version: str
    digest: str
    type: str

    @property
    def reference(self) -> str:
        """The reference that pipelines use: ``azureml:NAME:VERSION``."""
        return f"azureml:{self.name}:{self.version}"


@dataclass(frozen=True)
class LockedEncoder(LockedData):
    """A version of a pinned encoder. ``digest`` covers all its files, including the pin.

    ``encoder_digest`` covers the SavedModel's files, as in the pin. A model that is an input of a
    pipeline, such as a champion, is recorded in the same way; ``digest`` then covers its content.
    """

    encoder_digest: str = ""
    handle: str | None = None


@dataclass(frozen=True)
class LockedEnvironment:
    """A version of an environment, with the digests of its definition and of its package lock."""

    version: str
    digest: str
    lock_digest: str
    base_image: str
    base_image_digest: str | None = None


@dataclass(frozen=True)
class LockedComponent:
    """A published step. ``digest`` covers code and ports, ``code_digest`` the code snapshot."""

    version: str
    digest: str
    code_digest: str


@dataclass(frozen=True)
class LockedStep:
    """A node of the graph: its component, its environment's name, and all its parameters.

    ``inputs`` contains the source of each data input: ``inputs.NAME`` or
    ``jobs.NODE.outputs.PORT``. ``sent`` contains every other field of the node that the pipeline
    sets, by its dotted name; it is None in a lock of an earlier version of tfhub-blocks.
    """

    component: str
    environment: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    sent: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class LockedProfile:
    """The fields of a job and of its nodes that a profile adds or changes, by their dotted names.

    An empty text stands for a field that the pipeline sets and that is not sent.
    """

    job: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class LockedOpen:
    """The data asset of an open input, and the rule by which each run chooses its version."""

    name: str
    rule: Literal["newest"]


@dataclass(frozen=True)
class LockedEvidence:
    """The evidence of the run that proves the release: model, statement and measurements."""

    model_digest: str
    evidence_digest: str
    passed: bool
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ReleaseLock:
    """A release of a pipeline. ``digest`` covers all other fields, so edits by hand are found.

    ``run`` is the run that proves the release, ``profile`` the profile of this run, and ``commit``
    the commit of the repository that builds it. ``data``, ``encoder`` and ``inputs`` are the
    pipeline's inputs; ``steps`` contains the resulting values of each node. ``job`` contains the
    fields of the job that the pipeline sets, and ``profiles`` the fields that each profile adds
    that accepts only locks; both are None in a lock of an earlier version of tfhub-blocks.
    ``open`` contains at most one data input, whose version each run resolves; ``data`` contains the
    version with which the release was proven.
    """

    name: str
    pipeline: str
    owner: str
    commit: str
    profile: str
    cost_centre: str | None = None
    run: str | None = None
    digest: str = ""
    data: Mapping[str, LockedData] = field(default_factory=dict)
    encoder: Mapping[str, LockedEncoder] = field(default_factory=dict)
    environments: Mapping[str, LockedEnvironment] = field(default_factory=dict)
    components: Mapping[str, LockedComponent] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, LockedStep] = field(default_factory=dict)
    job: Mapping[str, Any] | None = None
    profiles: Mapping[str, LockedProfile] | None = None
    open: Mapping[str, LockedOpen] | None = None
    evidence: LockedEvidence | None = None

    def sealed(self) -> "ReleaseLock":
        """Return the lock with the digest of its content."""
        return replace(self, digest=self._content_digest())

    @property
    def is_sealed(self) -> bool:
        """True if the digest matches the content."""
        return self.digest == self._content_digest()

    @property
    def given(self) -> dict[str, LockedData]:
        """Data and encoders together, by the name of the pipeline's input."""
        return {**self.data, **self.encoder}

    def _content_digest(self) -> str:
        record = as_record(self)
        del record["digest"]
        return record_digest(record)


def lock_text(lock: ReleaseLock) -> str:
    """Return a lock as TOML. Equal locks give equal texts, and one change affects one line."""
    return _HEAD + tomli_w.dumps({VERSION_KEY: FORMAT_VERSION} | as_record(lock))


def write_lock(lock: ReleaseLock, path: Path) -> None:
    """Write a lock. The file is complete or absent."""
    write_file(path, lock_text(lock).encode())


def read_lock(path: Path) -> ReleaseLock:
    """Read a lock from its file.

    Raises:
        BlocksError: The file is not a lock, has a newer format, was edited, or contains an invalid
            value.
    """
    lock = read_document(path, ReleaseLock, FORMAT_VERSION)
    for key, problem, expected in _faults(lock):
        remedy = "Write the lock again with `tfhub-blocks lock`"
        raise BlocksError(str(path), key, problem, expected, remedy)
    if not lock.is_sealed:
        raise BlocksError(
            str(path),
            "digest",
            "the lock was edited: its digest does not match its content",
            "an unchanged lock",
            f"Restore {path.name} from git; to change the release, write another lock with "
            "`tfhub-blocks lock`",
        )
    if path.name != f"{lock.name}{SUFFIX}":
        raise BlocksError(
            str(path),
            "name",
            f"file {path.name} contains the lock of release {lock.name!r}",
            f"the file name {lock.name}{SUFFIX}",
            f"Rename the file to {lock.name}{SUFFIX}, or write a lock with another --name",
        )
    return lock


def _faults(lock: ReleaseLock) -> Iterator[tuple[str, str, str]]:
    """Yield key, problem and expectation of each invalid value, as the JSON schema defines them."""
    if not lock.owner.strip():
        yield "owner", "the release has no owner", "a person or team"
    if not _COMMIT.fullmatch(lock.commit):
        yield "commit", f"commit is {lock.commit!r}", "the complete hash of a git commit"
    for name, value in lock.inputs.items():
        if not isinstance(value, str | int | float):
            yield f"inputs.{name}", f"{name} is {value!r}", "a string, a number, true or false"
    for name in (lock.open or {}).keys() - lock.data.keys():
        yield f"open.{name}", f"{name} is no data input of the lock", "an input in [data]"
    if len(lock.open or {}) > 1:
        yield "open", f"{len(lock.open or {})} inputs are open", "at most one"
    for name, given in lock.given.items():
        table = "encoder" if name in lock.encoder else "data"
        for key, word in (("name", given.name), ("version", given.version)):
            if not _ASSET_WORD.fullmatch(word):
                yield f"{table}.{name}.{key}", f"{key} is {word!r}", f"an asset's {key}"
        if not _DIGEST.fullmatch(given.digest):
            yield f"{table}.{name}.digest", f"digest is {given.digest!r}", "a SHA-256"
        left_open = (lock.open or {}).get(name)
        if left_open and left_open.name != given.name:
            yield f"open.{name}.name", f"name is {left_open.name!r}", f"{given.name!r}, as in data"
        if name in lock.inputs or (name in lock.data and name in lock.encoder):
            yield f"{table}.{name}", f"input {name} is set in two tables", "one table"
