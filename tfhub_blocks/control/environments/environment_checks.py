"""Faults of environments and of steps' references to them, found without a network."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from tfhub_blocks.control.environments.dockerfile_checks import dockerfile_findings
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

# The package that only operating steps may have, because a step with it could call the workspace.
FORBIDDEN = "azure-ai-ml"
_OPERATIONS = "operations"
_LOCK = "Run `tfhub-blocks env lock`"
_THEN_LOCK = "then run `tfhub-blocks env lock`"


def check(environments: Iterable[Environment]) -> list[BlocksError]:
    """Return every fault of some environments, without a network; empty if all are valid."""
    findings = [finding for environment in environments for finding in _findings(environment)]
    # An unreadable file is found by each part that needs it.
    return list({str(finding): finding for finding in findings}.values())


def _findings(environment: Environment) -> Iterator[BlocksError]:
    for part in PARTS:
        yield from _part_findings(part, environment)


def _part_findings(
    part: Callable[[Environment], Iterator[BlocksError]], environment: Environment
) -> Iterator[BlocksError]:
    """Yield the findings of one part; an unreadable file is a finding too."""
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
            problem, remedy = f"{key} is missing", f"Add `{key}: ...` to {where}"
            yield BlocksError(where, key, problem, "a line of text", remedy)
    pythons = re.findall(r"\bpython=+(\d+\.\d+)", definition.text(DOCKERFILE_NAME))
    for python in pythons:
        if python != description.python:
            yield BlocksError(
                where,
                "python",
                f"python is {description.python}, but the Dockerfile installs {python}",
                "the same version in both files",
                f"Change python in {DESCRIPTION_NAME} or in the {DOCKERFILE_NAME}, {_THEN_LOCK}",
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
                f"{image.reference!r} can mean another image later",
                "an image with an exact tag",
                f"Write FROM with an exact tag in {where}, {_THEN_LOCK}",
            )
    description, image = definition.description, definition.base_image
    recorded = (description.base_image, description.base_image_digest)
    if any(recorded) and recorded != (image.reference, image.digest):
        yield BlocksError(
            where,
            "FROM",
            f"FROM names {image}",
            f"{recorded[0]}@{recorded[1]}, which {DESCRIPTION_NAME} records",
            _LOCK,
        )


def _only_operates(environment: Environment) -> bool:
    """Return True if steps name the environment, and all of them are operating steps."""
    folders = [reference.component.parents[1].name for reference in environment.references]
    return bool(folders) and set(folders) == {_OPERATIONS}


def _dockerfile_findings(environment: Environment) -> Iterator[BlocksError]:
    yield from dockerfile_findings(environment.definition)


def _lock_findings(environment: Environment) -> Iterator[BlocksError]:
    definition = environment.definition
    where = f"{definition.where}/{LOCK_NAME}"
    requirements = definition.text(REQUIREMENTS_NAME)
    lock = definition.lock
    if lock.requirements != requirements_digest(requirements):
        problem = f"the lock was written from a different {REQUIREMENTS_NAME}"
        yield BlocksError(where, "# requirements", problem, "", _LOCK)
    if lock.python != definition.description.python:
        yield BlocksError(
            where,
            "# python",
            f"the lock was written for Python {lock.python}",
            f"Python {definition.description.python}",
            _LOCK,
        )
    for package in lock.packages:
        if not package.is_hashed:
            problem = f"package {package.name} has no hash"
            yield BlocksError(where, package.name, problem, "--hash=sha256:...", _LOCK)
        if package.name == FORBIDDEN and not _only_operates(environment):
            yield BlocksError(
                where,
                package.name,
                f"a step with {package.name} could call the workspace",
                "only packages that steps import",
                f"Remove {package.name} from {REQUIREMENTS_NAME}, {_THEN_LOCK}",
            )
    yield from _unsatisfied(where, requirements, lock)
    if "and-cuda" in requirements or locked_version(lock, CUDA):
        for title, pattern in (("CUDA", CUDA), ("cuDNN", CUDNN)):
            if not locked_version(lock, pattern):
                yield BlocksError(
                    where,
                    title,
                    f"the environment is for GPUs, but the lock contains no {title}",
                    f"NVIDIA's {title} package",
                    f"Write tensorflow[and-cuda] in {REQUIREMENTS_NAME}, {_THEN_LOCK}",
                )


def _unsatisfied(where: str, requirements: str, lock: Lock) -> Iterator[BlocksError]:
    """Yield a finding for each requirement that the lock does not meet."""
    for line in requirement_lines(requirements):
        if line.startswith("-"):  # an option of pip's
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            problem = f"{line!r} is not a requirement ({' '.join(str(error).split())})"
            remedy = f"Write this line of {REQUIREMENTS_NAME} as a PEP 508 requirement"
            yield BlocksError(where, line, problem, "a requirement such as numpy>=2,<3", remedy)
            continue
        name = canonicalize_name(requirement.name)
        versions = [package.version for package in lock.packages if package.name == name]
        wrong = [v for v in versions if not requirement.specifier.contains(v, prereleases=True)]
        if wrong or not versions:
            versions_text = f"contains {name} {', '.join(wrong)}" if wrong else f"lacks {name}"
            problem = f"the lock {versions_text}"
            expected = "" if line == requirement.name else line
            yield BlocksError(where, name, problem, expected, _LOCK)


def _reference_findings(environment: Environment) -> Iterator[BlocksError]:
    version = environment.definition.version
    for reference in environment.references:
        if reference.version != version:
            yield BlocksError(
                str(reference.component),
                "environment",
                f"the step names {reference}",
                f"{reference.name}:{version}, the version that is defined",
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
                f"{name} does not match {continues} as defined now",
                f"the content of {continues} with the encoder",
                _LOCK,
            )
    context = Path(definition.where) / ENCODERS / definition.encoder / SAVED_MODEL_FOLDER
    # A checkout may lack the large files of an encoder.
    if context.is_dir() and tree_digest(files_sha256(context)) != definition.encoder:
        yield BlocksError(
            definition.where,
            str(context),
            f"the files of {context} do not have the digest in its path",
            "the encoder that was baked",
            "Bake the encoder again with `tfhub-blocks env bake`",
        )


PARTS = (
    _description_findings,
    _image_findings,
    _dockerfile_findings,
    _lock_findings,
    _reference_findings,
    _baked_findings,
)


def check_strangers(environments: Iterable[Environment]) -> list[BlocksError]:
    """Return the faults of steps that name none of these environments, which must be all."""
    known = [environment.definition.name for environment in environments]
    named = {reference.component: reference for reference in component_references()}
    findings = []
    for file in component_files().values():
        where, reference = str(short_path(file.path)), named.get(short_path(file.path))
        expected, remedy = "one of " + ", ".join(known), f"Set environment in {where}"
        if reference is None:
            problem = "the step names no environment"
        elif reference.name in known:
            continue
        elif near := nearest(reference.name, known):
            problem, remedy = f"environment {reference.name!r} is not defined", near
        elif not reference.version or reference.version.startswith("@"):
            problem, expected = f"the step names {reference} without an exact version", ""
            remedy = f"Write an exact version in {where}"
        else:
            continue
        findings.append(BlocksError(where, "environment", problem, expected, remedy))
    return findings
