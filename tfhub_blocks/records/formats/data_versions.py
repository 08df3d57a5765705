"""The published versions of a data asset, as steps find them in storage without asking Azure.

``publish`` writes one small file for each version below ``versions/NAME``, next to the data. The
file names begin with the time of the publication, so the last one is the newest version.
"""

# decision 64

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tfhub_blocks.records.base.digests import record_digest
from tfhub_blocks.records.base.errors import BlocksError

VERSIONS_NAME = "versions"
NEWEST: Literal["newest"] = "newest"
RULES: Mapping[str, str] = {NEWEST: "the newest version whose snapshot passes its checks"}
CHILD_FACT = "child_lock"


@dataclass(frozen=True)
class DataVersion:
    """A published version: ``path`` is relative to the folder that contains ``versions``."""

    name: str
    version: str
    digest: str
    path: str
    published: str

    @property
    def file_name(self) -> str:
        """The path of the version's file, relative to the folder that contains ``versions``."""
        stamp = "".join(it for it in self.published if it.isalnum())
        return f"{VERSIONS_NAME}/{self.name}/{stamp}-{self.version}.json"

    def as_text(self) -> str:
        """Return the content of the version's file."""
        return json.dumps(asdict(self), sort_keys=True)


def read_versions(folder: Path, name: str, where: str) -> Iterator[DataVersion]:
    """Yield the published versions of a data asset, the newest first.

    Args:
        folder: The folder that contains ``versions``.
        name: The data asset.
        where: The step, for errors.

    Raises:
        BlocksError: A file is not the record of a version of this asset, or names a path outside
            the folder.
    """
    for file in sorted((folder / VERSIONS_NAME / name).glob("*.json"), reverse=True):
        try:
            version = DataVersion(**json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise _unreadable(where, file, str(error)) from error
        path = PurePosixPath(version.path)
        if version.name != name or path.is_absolute() or ".." in path.parts:
            raise _unreadable(where, file, f"name {version.name}, path {version.path}")
        yield version


def _unreadable(where: str, file: Path, problem: str) -> BlocksError:
    return BlocksError(
        where,
        f"{VERSIONS_NAME}/{file.parent.name}/{file.name}",
        f"the file is not the record of a data version ({problem})",
        "a file that `tfhub-blocks publish` wrote",
        "Find out who changed this file in storage, and publish the data again",
    )


@dataclass(frozen=True)
class ChildLock:
    """A release lock with its open input resolved: everything else is as in the parent lock.

    ``release`` and ``parent`` are the name and the digest of the parent lock, ``input`` is its open
    input, and ``rule`` the rule. ``name``, ``version`` and ``content`` are the resolved data asset
    with its digest. ``skipped`` lists newer versions whose snapshot did not pass, as (version,
    reason).
    """

    release: str
    parent: str
    input: str
    rule: str
    name: str
    version: str
    content: str
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """The digest of the child lock. It covers the digest of the parent lock."""
        return record_digest(self._record())

    def as_fact(self) -> dict[str, Any]:
        """Return the child lock as a statement records it, with its digest."""
        return {**self._record(), "digest": self.digest}

    def _record(self) -> dict[str, Any]:
        return {**asdict(self), "skipped": [list(it) for it in self.skipped]}


def read_child(fact: Mapping[str, Any]) -> ChildLock:
    """Return the child lock that a statement records.

    Raises:
        ValueError: The record is incomplete, or was edited.
    """
    values = {key: value for key, value in fact.items() if key != "digest"}
    try:
        skipped = tuple((str(one), str(why)) for one, why in values.pop("skipped", ()))
        child = ChildLock(**values, skipped=skipped)
    except TypeError as error:
        raise ValueError(str(error)) from error
    if child.digest != fact.get("digest"):
        raise ValueError("the digest does not match the content")
    return child
