"""Locks of environments: their packages, the base image's digest, and the steps' references."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tfhub_blocks.control.environments.environment_bakes import follow
from tfhub_blocks.control.environments.environment_catalog import Environment
from tfhub_blocks.control.environments.image_registry import LookupFailedError, image_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.environment.environment_definitions import (
    DESCRIPTION_NAME,
    DOCKERFILE_NAME,
    REQUIREMENTS_NAME,
    Description,
    EnvironmentDefinition,
    Image,
    read_definition,
    with_facts,
    with_image,
)
from tfhub_blocks.records.environment.package_locks import LOCK_NAME, with_header

COMMAND = "tfhub-blocks env lock"


def lock(environment: Environment, upgrade: bool = False) -> Iterator[str]:
    """Update an environment's lock, base image and references.

    The same requirements produce the same lock: existing versions and digests are kept.

    Args:
        environment: The environment. Its files and the component.py files that name it are written.
            A baked environment is updated to the one that it extends.
        upgrade: True to use the newest versions that the requirements allow, and the current digest
            of the base image's tag.

    Yields:
        A line for each file that changed.

    Raises:
        BlocksError: The requirements cannot be met, or a file is invalid.
    """
    definition, folder = environment.definition, environment.folder
    if definition.description.continues:
        yield from follow(environment)
    else:
        text = _compile(definition, upgrade)
        if text != definition.files.get(LOCK_NAME, b"").decode():
            write_file(folder / LOCK_NAME, text.encode())
            yield f"{folder / LOCK_NAME}: written"
        yield from _lock_base_image(definition, folder, upgrade)
    version = read_definition(folder).version
    for reference in environment.references:
        if reference.version != version:
            reference.rewrite(version)
            yield f"{reference.component}: {reference} -> {version}"


def _compile(definition: EnvironmentDefinition, upgrade: bool) -> str:
    """Return the text of the lock for the requirements, resolved by uv."""
    requirements, python = definition.text(REQUIREMENTS_NAME), definition.description.python
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / LOCK_NAME
        if LOCK_NAME in definition.files:  # uv keeps the versions in a file that it overwrites
            output.write_bytes(definition.files[LOCK_NAME])
        command = [_uv(), "pip", "compile", "-q", "--universal", "--python-version", python]
        command += ["--generate-hashes", "--no-emit-index-url", "--no-annotate"]
        command += ["--custom-compile-command", COMMAND, REQUIREMENTS_NAME, "-o", str(output)]
        done = subprocess.run(
            [*command, *(["--upgrade"] if upgrade else [])],
            cwd=definition.where,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise BlocksError(
                definition.where,
                REQUIREMENTS_NAME,
                f"uv could not resolve {REQUIREMENTS_NAME}: {' '.join(done.stderr.split())}",
                "requirements that can be met together, and a reachable package index",
                f"Change {REQUIREMENTS_NAME} if versions conflict; otherwise run the command again"
                " with a network connection",
            )
        return with_header(output.read_text(encoding="utf-8"), requirements, python)


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        raise BlocksError("env", "lock", "program uv is not installed", "", "Run `pip install uv`")
    return found


def _lock_base_image(
    definition: EnvironmentDefinition, folder: Path, upgrade: bool
) -> Iterator[str]:
    image, description = definition.base_image, definition.description
    digest, problem = _base_image_digest(image, description, upgrade)
    if problem:
        state = f"its digest stays {digest}" if digest else "the tag stays, without a digest"
        yield f"{image.reference}: {problem}; {state}"
    locked = Image(image.reference, digest)
    if str(locked) != str(image):
        text = with_image(definition.text(DOCKERFILE_NAME), image, locked)
        write_file(folder / DOCKERFILE_NAME, text.encode())
        yield f"{folder / DOCKERFILE_NAME}: FROM {locked}"
    recorded = {"base_image": image.reference, "base_image_digest": digest} if digest else {}
    text = with_facts(definition.text(DESCRIPTION_NAME), recorded)
    if text != definition.text(DESCRIPTION_NAME):
        write_file(folder / DESCRIPTION_NAME, text.encode())
        yield f"{folder / DESCRIPTION_NAME}: base_image_digest {digest or 'removed'}"


def _base_image_digest(image: Image, description: Description, upgrade: bool) -> tuple[str, str]:
    """Return the digest to lock an image by, or an empty text, and why a lookup failed."""
    is_recorded = description.base_image == image.reference
    known = description.base_image_digest if is_recorded else ""
    if not known and image.digest != description.base_image_digest:
        known = image.digest  # written by hand, so the digest of an earlier tag does not apply
    if known and not upgrade:
        return known, ""
    try:
        return image_digest(image), ""
    except LookupFailedError as error:
        return known, str(error)
