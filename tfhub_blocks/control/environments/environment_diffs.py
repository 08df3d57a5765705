"""Differences between two environments, package by package."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.control.environments.environment_catalog import (
    CUDA,
    CUDNN,
    find_environments,
    locked_version,
)
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.environment.environment_definitions import (
    DESCRIPTION_NAME,
    DOCKERFILE_NAME,
    REQUIREMENTS_NAME,
    EnvironmentDefinition,
    read_definition,
)
from tfhub_blocks.records.environment.package_locks import LOCK_NAME, parse_lock

FOLDER = "components/environments"
ABSENT = "-"


@dataclass(frozen=True)
class PackageDifference:
    """A fact or a package of two environments; a text is ``-`` where the environment has none."""

    title: str
    before: str
    after: str

    @property
    def kind(self) -> str:
        """The kind of difference: added, removed, changed, or same."""
        if self.before == self.after:
            return "same"
        return {self.before: "added", self.after: "removed"}.get(ABSENT, "changed")


@dataclass(frozen=True)
class EnvironmentDiff:
    """The comparison of two environments: all facts, and the packages that differ."""

    facts: tuple[PackageDifference, ...]
    packages: tuple[PackageDifference, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the comparison, JSON-ready; an absent value is null."""

        def record(difference: PackageDifference) -> dict[str, str | None]:
            before, after = (
                None if text == ABSENT else text for text in (difference.before, difference.after)
            )
            return {"kind": difference.kind, "before": before, "after": after}

        return {
            "facts": {fact.title: record(fact) for fact in self.facts},
            "packages": {package.title: record(package) for package in self.packages},
        }

    def lines(self) -> Iterator[str]:
        """Yield the lines of a table: first all facts, then the packages that differ."""
        shown = (*self.facts, *self.packages)
        titles = max(len(row.title) for row in shown)
        befores = max(len(row.before) for row in shown)
        for rows in (self.facts, self.packages):
            for row in rows:
                yield f"{row.kind:<8} {row.title:<{titles}}  {row.before:<{befores}}  {row.after}"
        if not self.packages:
            yield "no package differs"


def compare(before: EnvironmentDefinition, after: EnvironmentDefinition) -> EnvironmentDiff:
    """Compare two environments on the platform of their images, Linux on x86-64.

    A definition may consist of a lock only.
    """
    first, second = before.lock, after.lock
    old, new = first.target_versions(), second.target_versions()
    packages = (
        PackageDifference(name, old.get(name, ABSENT), new.get(name, ABSENT))
        for name in sorted(old.keys() | new.keys())
    )
    encoders = [_encoder(before), _encoder(after)]
    facts = (
        PackageDifference("version", _version(before), _version(after)),
        PackageDifference("base image", _image(before), _image(after)),
        PackageDifference("Python", first.python, second.python),
        *(
            PackageDifference(
                title,
                locked_version(first, pattern) or ABSENT,
                locked_version(second, pattern) or ABSENT,
            )
            for title, pattern in (("CUDA", CUDA), ("cuDNN", CUDNN))
        ),
        *([] if encoders == [ABSENT, ABSENT] else [PackageDifference("encoder", *encoders)]),
    )
    return EnvironmentDiff(facts, tuple(row for row in packages if row.kind != "same"))


def _version(definition: EnvironmentDefinition) -> str:
    return definition.version if DOCKERFILE_NAME in definition.files else ABSENT


def _image(definition: EnvironmentDefinition) -> str:
    return str(definition.base_image) if DOCKERFILE_NAME in definition.files else ABSENT


def _encoder(definition: EnvironmentDefinition) -> str:
    return (definition.encoder if DOCKERFILE_NAME in definition.files else "") or ABSENT


def find_definition(word: str) -> EnvironmentDefinition:
    """Return the definition that a word names.

    The word is an environment, its folder, a lock file, or ``REVISION:NAME`` in git.

    Raises:
        BlocksError: The word names none of these.
    """
    path = Path(word)
    if path.is_file():
        parse_lock(path.read_text(encoding="utf-8", errors="replace"), word)
        return EnvironmentDefinition(path.stem, str(path.parent), {LOCK_NAME: path.read_bytes()})
    if (path / LOCK_NAME).is_file():
        return read_definition(path)
    revision, colon, name = word.rpartition(":")
    if colon and revision:
        return _of_revision(revision, name)
    [environment] = find_environments([word])
    return environment.definition


def _of_revision(revision: str, name: str) -> EnvironmentDefinition:
    """Return an environment at a revision of the repository around the working folder."""
    listed = _git("ls-tree", "--name-only", f"{revision}:./{FOLDER}")
    if listed is None:
        raise BlocksError(
            "env diff",
            f"{revision}:{name}",
            f"git finds no {FOLDER} at revision {revision!r}",
            "a revision of this repository with environments",
            f"Run `git log -- {FOLDER}` to see such revisions",
        )
    known = listed.decode().split("\n")[:-1]
    key = name if name in known else name.removeprefix("tfhub-blocks-")
    if key not in known:
        raise BlocksError(
            "env diff",
            f"{revision}:{name}",
            f"environment {name!r} does not exist at revision {revision}",
            "one of " + ", ".join(known),
            nearest(name, known) or f"Pass {revision}:NAME with one of these names",
        )
    where = f"{revision}:./{FOLDER}/{key}"
    names = (DOCKERFILE_NAME, LOCK_NAME, REQUIREMENTS_NAME, DESCRIPTION_NAME)
    contents = {file: _git("show", f"{where}/{file}") for file in names}
    files = {file: content for file, content in contents.items() if content is not None}
    return EnvironmentDefinition(key, f"{revision}:{FOLDER}/{key}", files)


def _git(*arguments: str) -> bytes | None:
    """Return the output of a git command, or None if the command fails or git is missing."""
    try:
        # Git must not read a user's word as an option.
        done = subprocess.run(
            ["git", arguments[0], *arguments[1:-1], "--end-of-options", arguments[-1]],
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        return None
    return done.stdout if done.returncode == 0 else None
