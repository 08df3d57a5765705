"""Release locks: everything that a run of a pipeline resolves, pinned in one file."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import tomli_w

from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.documents import VERSION_KEY, as_record, read_document
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file

FORMAT_VERSION = 1
SUFFIX = ".lock.toml"
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
# What a reference is made of; a place, a label or another reference is none of it.
_ASSET_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEAD = "# Written by `tfhub-blocks lock`, which tells how it differs from another: lock diff.\n"


@dataclass(frozen=True)
class LockedData:
    """A version of a data asset; ``digest`` is of all its content."""

    name: str
    version: str
    digest: str
    type: str

    @property
    def reference(self) -> str:
        """As pipelines name it."""
        return f"azureml:{self.name}:{self.version}"


@dataclass(frozen=True)
class LockedEncoder(LockedData):
    """A version of a pinned encoder: ``digest`` is of all its files, with the pin.

    ``encoder_digest`` is of the SavedModel's files, as the pin states it. A model that a pipeline
    is given, such as a champion, is one as well: ``digest`` is then that of its content.
    """

    encoder_digest: str = ""
    handle: str | None = None


@dataclass(frozen=True)
class LockedEnvironment:
    """A version of an environment: ``digest`` of its definition, ``lock_digest`` of its lock."""

    version: str
    digest: str
    lock_digest: str
    base_image: str
    base_image_digest: str | None = None


@dataclass(frozen=True)
class LockedComponent:
    """A step as it is published: ``digest`` of code and ports, ``code_digest`` of its snapshot."""

    version: str
    digest: str
    code_digest: str


@dataclass(frozen=True)
class LockedStep:
    """A node: its component, its environment by name, and every parameter as it arrives.

    ``inputs`` says where its data comes from: ``inputs.NAME``, or ``jobs.NODE.outputs.PORT``.
    """

    component: str
    environment: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LockedEvidence:
    """What the run reached: of which model, in which statement, and what was measured."""

    model_digest: str
    evidence_digest: str
    passed: bool
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ReleaseLock:
    """A release of a pipeline. ``digest`` is over everything else in it, against edits by hand.

    ``profile`` is the one that it was proven under, ``run`` the run that did, ``commit`` the state
    of the repository that makes it. What the pipeline's inputs are is in ``data``, ``encoder`` and
    ``inputs``; what follows from it for each node is in ``steps``.
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
    evidence: LockedEvidence | None = None

    def sealed(self) -> "ReleaseLock":
        """The same with the digest of its content."""
        return replace(self, digest=self._content_digest())

    @property
    def is_sealed(self) -> bool:
        """Whether its digest is that of its content."""
        return self.digest == self._content_digest()

    @property
    def given(self) -> dict[str, LockedData]:
        """Data and encoders together, by the pipeline's input."""
        return {**self.data, **self.encoder}

    def _content_digest(self) -> str:
        record = as_record(self)
        del record["digest"]
        return record_digest(record)


def lock_text(lock: ReleaseLock) -> str:
    """A lock as TOML; the same lock is the same text, and one change is one line of it."""
    return _HEAD + tomli_w.dumps({VERSION_KEY: FORMAT_VERSION} | as_record(lock))


def write_lock(lock: ReleaseLock, path: Path) -> None:
    """Write a lock, whole or not at all."""
    write_file(path, lock_text(lock).encode())


def read_lock(path: Path) -> ReleaseLock:
    """A lock from its file.

    Raises:
        BlocksError: It is none, of a newer format, not what was written, or says what no lock can.
    """
    lock = read_document(path, ReleaseLock, FORMAT_VERSION)
    for key, problem, expected in _faults(lock):
        raise BlocksError(str(path), key, problem, expected, "write it again: tfhub-blocks lock")
    if not lock.is_sealed:
        raise BlocksError(
            str(path),
            "digest",
            "the lock is not what was written: its digest is not that of its content",
            "a lock as `tfhub-blocks lock` writes it",
            "change what it was made from, commit that, and write it again",
        )
    if path.name != f"{lock.name}{SUFFIX}":
        raise BlocksError(
            str(path),
            "name",
            f"it is the lock of {lock.name!r}",
            f"{lock.name}{SUFFIX}",
            "give the file its name back, or write another lock",
        )
    return lock


def _faults(lock: ReleaseLock) -> Iterator[tuple[str, str, str]]:
    """Key, problem and expectation of what the types alone do not rule out, as the schema does."""
    if not lock.owner.strip():
        yield "owner", "nobody is named", "who answers for the release"
    if not _COMMIT.fullmatch(lock.commit):
        yield "commit", f"it is {lock.commit!r}", "the whole name of a git commit"
    for name, value in lock.inputs.items():
        if not isinstance(value, str | int | float):
            yield f"inputs.{name}", f"it is {value!r}", "a string, a number, true or false"
    for name, given in lock.given.items():
        table = "encoder" if name in lock.encoder else "data"
        for key, word in (("name", given.name), ("version", given.version)):
            if not _ASSET_WORD.fullmatch(word):
                yield f"{table}.{name}.{key}", f"it is {word!r}", "that of a registered asset"
        if not _DIGEST.fullmatch(given.digest):
            yield f"{table}.{name}.digest", f"it is {given.digest!r}", "a SHA-256"
        if name in lock.inputs or (name in lock.data and name in lock.encoder):
            yield f"{table}.{name}", "it is given twice", "one table that says what it is"
