"""Environments as they are defined: a Dockerfile, requirements, their lock, an owner, a purpose."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from tfhub_blocks.records.base.documents import read_record
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.environment.installed_packages import DEFINITION_FILES, content_version
from tfhub_blocks.records.environment.package_locks import (
    DEFAULT_PYTHON,
    LOCK_NAME,
    Lock,
    parse_lock,
)

DOCKERFILE_NAME = "Dockerfile"
REQUIREMENTS_NAME = "requirements.in"
DESCRIPTION_NAME = "environment.yaml"

_FROM = re.compile(r"^FROM[ \t]+(?:--\S+[ \t]+)*(\S+)(?:[ \t]+AS[ \t]+(\S+))?", re.I | re.M)
_BAKED = re.compile(r"^COPY encoders/([0-9a-f]{64}) ", re.M)
_CUDA_TAG = re.compile(r"cuda-?(\d+(?:\.\d+)*)")


@dataclass(frozen=True)
class Description:
    """What ``environment.yaml`` says; the last two are written by ``tfhub-blocks env lock``.

    ``continues`` is the NAME:VERSION of the environment that this one adds an encoder to, and is
    written by ``tfhub-blocks env bake``.
    """

    name: str
    owner: str = ""
    purpose: str = ""
    python: str = DEFAULT_PYTHON
    continues: str = ""
    base_image: str = ""
    base_image_digest: str = ""


@dataclass(frozen=True)
class Image:
    """A container image as a Dockerfile names it: ``NAME:TAG``, and its digest if that is known."""

    reference: str
    digest: str = ""

    @property
    def tag(self) -> str:
        """Its tag, or nothing."""
        return self.reference.rpartition("/")[2].partition(":")[2]

    @property
    def cuda(self) -> str:
        """The version of CUDA that its name states, or nothing."""
        found = _CUDA_TAG.search(self.reference)
        return found[1] if found else ""

    def __str__(self) -> str:
        """As it stands behind FROM."""
        return f"{self.reference}@{self.digest}" if self.digest else self.reference


@dataclass(frozen=True)
class EnvironmentDefinition:
    """The files of an environment's definition, by name; one that is not there is no key.

    ``key`` is the name of its folder, by which the command line knows it; ``where`` says where
    it was read from.
    """

    key: str
    where: str
    files: Mapping[str, bytes]

    def text(self, name: str) -> str:
        """The text of one file.

        Raises:
            BlocksError: The definition lacks it, or it is no text.
        """
        if name not in self.files:
            raise BlocksError(
                self.where,
                name,
                "there is no such file",
                ", ".join((*DEFINITION_FILES, REQUIREMENTS_NAME, DESCRIPTION_NAME)),
                "write it; see docs/environments.md",
            )
        try:
            return self.files[name].decode()
        except UnicodeDecodeError as error:
            raise BlocksError(self.where, name, str(error), "UTF-8", "mend it") from error

    @property
    def version(self) -> str:
        """The version that follows from its content."""
        for name in DEFINITION_FILES:
            self.text(name)
        return content_version(self.files)

    @property
    def lock(self) -> Lock:
        """Its lock."""
        return parse_lock(self.text(LOCK_NAME), f"{self.where}/{LOCK_NAME}")

    @property
    def description(self) -> Description:
        """What its ``environment.yaml`` says.

        Raises:
            BlocksError: It is no YAML, or holds something that is not understood.
        """
        where = f"{self.where}/{DESCRIPTION_NAME}"
        try:
            record = yaml.safe_load(self.text(DESCRIPTION_NAME))
        except yaml.YAMLError as error:
            problem = " ".join(str(error).split())
            raise BlocksError(where, "file", problem, "a YAML mapping", "mend it") from error
        if not isinstance(record, dict):
            raise BlocksError(where, "file", f"it is {record!r}", "a YAML mapping", "mend it")
        return read_record(record, Description, where)

    @property
    def name(self) -> str:
        """The name that its ``environment.yaml`` gives, or nothing if that cannot be read."""
        try:
            return self.description.name
        except BlocksError:
            return ""

    @property
    def encoder(self) -> str:
        """The digest of the encoder that its image holds, or nothing."""
        found = _BAKED.search(self.text(DOCKERFILE_NAME))
        return found[1] if found else ""

    @property
    def images(self) -> list[Image]:
        """What its Dockerfile builds on; the last is what the environment's image is made from."""
        found, stages = [], set()
        for reference, stage in _FROM.findall(self.text(DOCKERFILE_NAME)):
            if reference not in stages:
                name, _, digest = reference.partition("@")
                found.append(Image(name, digest))
            stages.add(stage)
        return found

    @property
    def base_image(self) -> Image:
        """What the environment's image is made from.

        Raises:
            BlocksError: The Dockerfile names none.
        """
        if not self.images:
            raise BlocksError(
                f"{self.where}/{DOCKERFILE_NAME}",
                "FROM",
                "it is missing",
                "FROM IMAGE:TAG",
                "add it",
            )
        return self.images[-1]


def read_definition(folder: Path) -> EnvironmentDefinition:
    """The definition in a folder."""
    names = (*DEFINITION_FILES, REQUIREMENTS_NAME, DESCRIPTION_NAME)
    found = {name: folder / name for name in names if (folder / name).is_file()}
    files = {name: path.read_bytes() for name, path in found.items()}
    return EnvironmentDefinition(folder.name, str(folder), files)


def with_image(dockerfile: str, old: Image, new: Image) -> str:
    """The text of a Dockerfile that builds on another image; the rest stays as it was."""
    line = re.compile(rf"^(FROM[ \t]+(?:--\S+[ \t]+)*){re.escape(str(old))}(?!\S)", re.I | re.M)
    return line.sub(lambda match: match[1] + str(new), dockerfile)


def with_facts(description: str, facts: Mapping[str, str]) -> str:
    """The text of an environment.yaml with what commands write into it; the rest stays as it was.

    What is not given of ``continues``, ``base_image`` and ``base_image_digest`` is removed.
    """
    keys = "|".join({"continues", "base_image", "base_image_digest", *facts})
    kept = re.sub(rf"^({keys}):.*\n?", "", description, flags=re.M)
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in facts.items() if value]
    return "".join([kept if kept.endswith("\n") or not kept else f"{kept}\n", *lines])
