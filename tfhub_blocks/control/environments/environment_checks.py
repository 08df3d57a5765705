"""What is wrong with environments and with what steps say of them, found without a network."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tfhub_blocks.control.environments.environment_bakes import ENCODERS, expected_files
from tfhub_blocks.control.environments.environment_catalog import (
    CUDA,
    CUDNN,
    Environment,
    component_references,
    locked_version,
    short_path,
)
from tfhub_blocks.control.repository.catalog import component_files
from tfhub_blocks.records.base.digests import files_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.environment.environment_definitions import (
    DESCRIPTION_NAME,
    DOCKERFILE_NAME,
    REQUIREMENTS_NAME,
)
from tfhub_blocks.records.environment.package_locks import (
    LOCK_NAME,
    Lock,
    requirement_lines,
    requirements_digest,
)
from tfhub_blocks.records.pins.pins import SAVED_MODEL_FOLDER

# What no step may have: with it, a step could talk to the workspace.
FORBIDDEN = "azure-ai-ml"
_LOCK = "run `tfhub-blocks env lock`"


def check(environments: Iterable[Environment]) -> list[BlocksError]:
    """Everything that is wrong with some environments, without a network; empty if all is well."""
    findings = [finding for environment in environments for finding in _findings(environment)]
    # A file that cannot be read is found by each part that needs it.
    return list({str(finding): finding for finding in findings}.values())


def _findings(environment: Environment) -> Iterator[BlocksError]:
    for part in PARTS:
        yield from _told(part, environment)


def _told(
    part: Callable[[Environment], Iterator[BlocksError]], environment: Environment
) -> Iterator[BlocksError]:
    """What one part finds; a file that it cannot read is a finding as well."""
    try:
        yield from part(environment)
    except BlocksError as unreadable:
        yield unreadable


def _description_findings(environment: Environment) -> Iterator[BlocksError]:
    definition = environment.definition
    where = f"{definition.where}/{DESCRIPTION_NAME}"
    description = definition.description
    for key, text in (("owner", description.owner), ("purpose", description.purpose)):
        if not text.strip():
            yield BlocksError(where, key, "it is missing", "a line of text", f"add {key}: ...")
    pythons = re.findall(r"\bpython=+(\d+\.\d+)", definition.text(DOCKERFILE_NAME))
    for python in pythons:
        if python != description.python:
            yield BlocksError(
                where,
                "python",
                f"it is {description.python}, and the Dockerfile installs {python}",
                "the same version",
                f"correct one of them, then {_LOCK}",
            )


def _image_findings(environment: Environment) -> Iterator[BlocksError]:
    definition = environment.definition
    where = f"{definition.where}/{DOCKERFILE_NAME}"
    _ = definition.base_image
    for image in definition.images:
        if image.tag in ("", "latest") or "$" in image.reference:
            yield BlocksError(
                where,
                "FROM",
                f"{image.reference!r} means something else on another day",
                "an image with an exact tag",
                "name one",
            )
    description, image = definition.description, definition.base_image
    recorded = (description.base_image, description.base_image_digest)
    if any(recorded) and recorded != (image.reference, image.digest):
        yield BlocksError(
            where,
            "FROM",
            f"it names {image}",
            f"{recorded[0]}@{recorded[1]}, as {DESCRIPTION_NAME} records",
            _LOCK,
        )


def _lock_findings(environment: Environment) -> Iterator[BlocksError]:
    definition = environment.definition
    where = f"{definition.where}/{LOCK_NAME}"
    requirements = definition.text(REQUIREMENTS_NAME)
    lock = definition.lock
    if lock.requirements != requirements_digest(requirements):
        yield BlocksError(
            where, "# requirements", "it was made from another requirements.in", "this one", _LOCK
        )
    if lock.python != definition.description.python:
        yield BlocksError(
            where,
            "# python",
            f"it was made for Python {lock.python}",
            definition.description.python,
            _LOCK,
        )
    for package in lock.packages:
        if not package.is_hashed:
            yield BlocksError(where, package.name, "it has no hash", "--hash=sha256:...", _LOCK)
        if package.name == FORBIDDEN:
            yield BlocksError(
                where,
                package.name,
                "a step with it could talk to the workspace",
                "only what steps import",
                f"take it out of {REQUIREMENTS_NAME}, then {_LOCK}",
            )
    yield from _unsatisfied(where, requirements, lock)
    if definition.base_image.cuda or "and-cuda" in requirements:
        for title, pattern in (("CUDA", CUDA), ("cuDNN", CUDNN)):
            if not locked_version(lock, pattern):
                yield BlocksError(
                    where,
                    title,
                    "the base image is for GPUs, and the lock names no version of it",
                    "NVIDIA's package of it",
                    f"ask for tensorflow[and-cuda] in {REQUIREMENTS_NAME}, then {_LOCK}",
                )


def _unsatisfied(where: str, requirements: str, lock: Lock) -> Iterator[BlocksError]:
    """The requirements that the lock does not meet."""
    for line in requirement_lines(requirements):
        if line.startswith("-"):  # an option of pip's
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            told = " ".join(str(error).split())
            yield BlocksError(where, line, told, "a requirement (PEP 508)", "correct it")
            continue
        name = canonicalize_name(requirement.name)
        versions = [package.version for package in lock.packages if package.name == name]
        wrong = [v for v in versions if not requirement.specifier.contains(v, prereleases=True)]
        if wrong or not versions:
            problem = f"the lock holds {', '.join(wrong)}" if wrong else "the lock lacks it"
            yield BlocksError(where, name, problem, line, _LOCK)


def _reference_findings(environment: Environment) -> Iterator[BlocksError]:
    version = environment.definition.version
    for reference in environment.references:
        if reference.version != version:
            yield BlocksError(
                str(reference.component),
                "environment",
                f"it names {reference}",
                f"{reference.name}:{version}, which is defined",
                _LOCK,
            )


def _baked_findings(environment: Environment) -> Iterator[BlocksError]:
    definition = environment.definition
    continues = definition.description.continues
    if not continues:
        return
    for name, text in expected_files(definition).items():
        if definition.text(name) != text:
            yield BlocksError(
                f"{definition.where}/{name}",
                "continues",
                f"it does not follow from {continues} as that is defined now",
                "what that holds, and the encoder",
                _LOCK,
            )
    context = Path(definition.where) / ENCODERS / definition.encoder / SAVED_MODEL_FOLDER
    # A checkout may lack what is too large for it.
    if context.is_dir() and tree_digest(files_sha256(context)) != definition.encoder:
        yield BlocksError(
            definition.where,
            str(context),
            "its files do not have the digest that it is named by",
            "the encoder that was baked",
            "bake it again",
        )


PARTS = (
    _description_findings,
    _image_findings,
    _lock_findings,
    _reference_findings,
    _baked_findings,
)


def check_strangers(environments: Iterable[Environment]) -> list[BlocksError]:
    """What is wrong with steps that name none of these environments, which should be all."""
    known = [environment.definition.name for environment in environments]
    named = {reference.component: reference for reference in component_references()}
    findings = []
    for file in component_files().values():
        where, reference = str(short_path(file.path)), named.get(short_path(file.path))
        expected, remedy = "one of " + ", ".join(known), "name one of these"
        if reference is None:
            problem = "it names none"
        elif reference.name in known:
            continue
        elif near := nearest(reference.name, known):
            problem, remedy = f"{reference.name!r} is not defined here", near
        elif not reference.version or reference.version.startswith("@"):
            problem, expected, remedy = f"it names {reference}", "an exact version", "name one"
        else:
            continue
        findings.append(BlocksError(where, "environment", problem, expected, remedy))
    return findings
