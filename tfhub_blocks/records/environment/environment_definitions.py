"""Environment definitions: a Dockerfile, requirements, their lock, an owner and a purpose."""

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
    """The content of ``environment.yaml``.

    ``tfhub-blocks env lock`` writes the last two fields. ``tfhub-blocks env bake`` writes
    ``continues``, the NAME:VERSION of the environment to which this one adds an encoder.
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
    """A container image as a Dockerfile names it: ``NAME:TAG``, and its digest if known."""

    reference: str
    digest: str = ""

    @property
    def tag(self) -> str:
        """The tag of the image, or an empty text."""
        return self.reference.rpartition("/")[2].partition(":")[2]

    @property
    def cuda(self) -> str:
        """The version of CUDA in the image's name, or an empty text."""
        found = _CUDA_TAG.search(self.reference)
        return found[1] if found else ""

    def __str__(self) -> str:
        """Return the text for a FROM line."""
        return f"{self.reference}@{self.digest}" if self.digest else self.reference


@dataclass(frozen=True)
class EnvironmentDefinition:
    """The files of an environment's definition, by name. A missing file has no key.

    ``key`` is the name of the folder, which the command line uses; ``where`` is the source of the
    files, for errors.
    """

    key: str
    where: str
    files: Mapping[str, bytes]

    def text(self, name: str) -> str:
        """Return the text of one file.

        Raises:
            BlocksError: The definition lacks the file, or the file is not UTF-8 text.
        """
        if name not in self.files:
            raise BlocksError(
                self.where,
                name,
                f"the environment has no {name}",
                "the files " + ", ".join((*DEFINITION_FILES, REQUIREMENTS_NAME, DESCRIPTION_NAME)),
                f"Run `tfhub-blocks env lock {self.key}`, which writes this file"
                if name == LOCK_NAME
                else f"Add {name}; components/environments/cpu is an example",
            )
        try:
            return self.files[name].decode()
        except UnicodeDecodeError as error:
            raise BlocksError(
                self.where,
                name,
                f"{name} is not UTF-8 text ({error})",
                "",
                f"Save {name} as UTF-8, or restore the file from git",
            ) from error

    @property
    def version(self) -> str:
        """The version of the environment, which follows from its content."""
        for name in DEFINITION_FILES:
            self.text(name)
        return content_version(self.files)

    @property
    def lock(self) -> Lock:
        """The lock of the environment."""
        return parse_lock(self.text(LOCK_NAME), f"{self.where}/{LOCK_NAME}")

    @property
    def description(self) -> Description:
        """The content of ``environment.yaml``.

        Raises:
            BlocksError: The file is not YAML, or a key is missing, unknown or mistyped.
        """
        where = f"{self.where}/{DESCRIPTION_NAME}"
        remedy = "Start from components/environments/cpu/environment.yaml"
        try:
            record = yaml.safe_load(self.text(DESCRIPTION_NAME))
        except yaml.YAMLError as error:
            problem = f"{DESCRIPTION_NAME} is not YAML ({' '.join(str(error).split())})"
            raise BlocksError(where, "file", problem, "a YAML mapping", remedy) from error
        if not isinstance(record, dict):
            problem = f"{DESCRIPTION_NAME} contains {record!r}"
            raise BlocksError(where, "file", problem, "a YAML mapping", remedy)
        return read_record(record, Description, where)

    @property
    def name(self) -> str:
        """The name in ``environment.yaml``, or an empty text if the file cannot be read."""
        try:
            return self.description.name
        except BlocksError:
            return ""

    @property
    def encoder(self) -> str:
        """The digest of the encoder that the image contains, or an empty text."""
        found = _BAKED.search(self.text(DOCKERFILE_NAME))
        return found[1] if found else ""

    @property
    def images(self) -> list[Image]:
        """The images that the Dockerfile builds on. The last is the base of the final image."""
        found, stages = [], set()
        for reference, stage in _FROM.findall(self.text(DOCKERFILE_NAME)):
            if reference not in stages:
                name, _, digest = reference.partition("@")
                found.append(Image(name, digest))
            stages.add(stage)
        return found

    @property
    def base_image(self) -> Image:
        """The image from which the environment's image is built.

        Raises:
            BlocksError: The Dockerfile names no image.
        """
        if not self.images:
            raise BlocksError(
                f"{self.where}/{DOCKERFILE_NAME}",
                "FROM",
                "the Dockerfile has no FROM line",
                "",
                f"Add a line FROM IMAGE:TAG to {self.where}/{DOCKERFILE_NAME}",
            )
        return self.images[-1]


def read_definition(folder: Path) -> EnvironmentDefinition:
    """Read the definition in a folder. Missing files are no error yet."""
    names = (*DEFINITION_FILES, REQUIREMENTS_NAME, DESCRIPTION_NAME)
    found = {name: folder / name for name in names if (folder / name).is_file()}
    files = {name: path.read_bytes() for name, path in found.items()}
    return EnvironmentDefinition(folder.name, str(folder), files)


def with_image(dockerfile: str, old: Image, new: Image) -> str:
    """Replace the base image in a Dockerfile's text; the rest stays unchanged."""
    line = re.compile(rf"^(FROM[ \t]+(?:--\S+[ \t]+)*){re.escape(str(old))}(?!\S)", re.I | re.M)
    return line.sub(lambda match: match[1] + str(new), dockerfile)


def with_facts(description: str, facts: Mapping[str, str]) -> str:
    """Set facts in the text of an environment.yaml; the rest stays unchanged.

    Of ``continues``, ``base_image`` and ``base_image_digest``, those without a fact are removed.
    """
    keys = "|".join({"continues", "base_image", "base_image_digest", *facts})
    kept = re.sub(rf"^({keys}):.*\n?", "", description, flags=re.M)
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in facts.items() if value]
    return "".join([kept if kept.endswith("\n") or not kept else f"{kept}\n", *lines])
