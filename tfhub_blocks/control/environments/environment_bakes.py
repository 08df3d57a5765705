"""Baked environments: an environment extended by an image layer that contains an encoder."""

# decision 10

import copy
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfhub_blocks.control.environments.environment_catalog import (
    Environment,
    find_environments,
    read_definitions,
)
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.environment.environment_definitions import (
    DESCRIPTION_NAME,
    DOCKERFILE_NAME,
    REQUIREMENTS_NAME,
    EnvironmentDefinition,
    read_definition,
    with_facts,
)
from tfhub_blocks.records.environment.package_locks import LOCK_NAME
from tfhub_blocks.records.pins.pins import (
    IMAGE_FOLDER,
    PIN_NAME,
    SAVED_MODEL_FOLDER,
    Pin,
    check_files,
    copy_files,
    read_pin,
)

# The folder of the build context with the encoders, each below its digest.
ENCODERS = "encoders"
_WHERE = "env bake"
_COMMENT = "# The encoder, below the digest of its files: another model makes another version."


def bake(encoder: Path, onto: str, name: str | None) -> EnvironmentDefinition:
    """Write an environment whose image contains an encoder, and return its definition.

    The environment is in ``components/environments`` of the working folder, with the encoder in its
    build context. Its version covers the encoder, whose digest is in the Dockerfile. Baking the
    same encoder again writes the same files.

    Args:
        encoder: A folder with a pin that decides ``baked``, and the SavedModel next to the pin.
        onto: The environment to extend.
        name: The name of the new folder; None for ``ONTO-ENCODER``.

    Raises:
        BlocksError: The encoder differs from its pin, the pin decides otherwise, the environment to
            extend is baked itself, or the folder contains another environment.
    """
    pin = read_pin(encoder / PIN_NAME)
    if pin.decisions.loading != "baked":
        raise BlocksError(
            _WHERE,
            f"{encoder / PIN_NAME}: decisions.loading",
            f"loading is {pin.decisions.loading!r}, so no step would load the encoder from its"
            " image",
            "'baked'",
            f"Set loading = 'baked' in {encoder / PIN_NAME}, if the team decides so",
        )
    [base] = find_environments([onto])
    if base.definition.description.continues:
        raise BlocksError(
            _WHERE,
            onto,
            f"environment {onto} is baked itself; it extends"
            f" {base.definition.description.continues}",
            "an environment without encoders",
            f"Pass --onto {base.definition.description.continues.rpartition(':')[0]}",
        )
    key = name or f"{base.key}-{pin.name.lower()}"
    folder = Path("components") / "environments" / key
    if folder.exists() and not read_definition(folder).description.continues:
        raise BlocksError(
            _WHERE,
            str(folder),
            f"folder {folder} exists, and `tfhub-blocks env bake` did not write it",
            "a new name, or the name of a baked environment",
            "Pass another name with --to",
        )
    _copy_encoder(encoder, pin, folder / ENCODERS)
    purpose = f"{base.definition.description.purpose} With {pin.name} in the image."
    description = with_facts(
        base.definition.text(DESCRIPTION_NAME), {"name": f"tfhub-blocks-{key}", "purpose": purpose}
    )
    for file, text in _continued(base.definition, pin.digest, description).items():
        write_file(folder / file, text.encode())
    return read_definition(folder)


def follow(environment: Environment) -> Iterator[str]:
    """Update a baked environment to the current version of the one that it extends.

    Yields:
        A line for each file that changed.

    Raises:
        BlocksError: The environment to extend is not defined any more.
    """
    for file, text in expected_files(environment.definition).items():
        if text != environment.definition.files.get(file, b"").decode():
            write_file(environment.folder / file, text.encode())
            yield f"{environment.folder / file}: written"


def expected_files(baked: EnvironmentDefinition) -> dict[str, str]:
    """Return the files of a baked environment by name, as derived from the one that it extends now.

    Raises:
        BlocksError: The extended environment is not defined, or the Dockerfile lost its layer.
    """
    name = baked.description.continues.rpartition(":")[0]
    [base] = find_environments([name])
    if not baked.encoder:
        raise BlocksError(
            f"{baked.where}/{DOCKERFILE_NAME}",
            "COPY",
            "the Dockerfile copies no encoder into the image",
            f"COPY {ENCODERS}/DIGEST {IMAGE_FOLDER}/DIGEST, as `tfhub-blocks env bake` writes it",
            "Bake the encoder again with `tfhub-blocks env bake`",
        )
    return _continued(base.definition, baked.encoder, baked.text(DESCRIPTION_NAME))


def move_steps(job: Any, moves: Mapping[str, str]) -> None:
    """Move the steps of a pipeline job to baked environments; the job's nodes are changed.

    Raises:
        BlocksError: A baked environment is not defined, or does not extend a step's environment.
    """
    for node in job.jobs.values():
        if hasattr(node.component, "jobs"):  # an inner pipeline
            move_steps(node.component, moves)
        else:
            node._component = moved(node.component, moves)


def moved(component: Any, moves: Mapping[str, str]) -> Any:
    """Return a component in a baked environment, at the version that is defined now.

    A step compares its environment with the lock of the environment that its component.py names; a
    baked environment has the same lock.

    Args:
        component: The azure-ai-ml component, which is not changed.
        moves: Maps the name of an environment to the one in which its steps run instead.

    Raises:
        BlocksError: The baked environment is not defined, or does not extend the step's
            environment.
    """
    pinned = str(component.environment).removeprefix("azureml:")
    name = pinned.rpartition(":")[0]
    if name not in moves:
        return component
    [environment] = find_environments([moves[name]])
    definition = environment.definition
    if definition.description.continues != pinned:
        raise BlocksError(
            "profile",
            f"environments.{name}",
            f"environment {definition.name} extends"
            f" {definition.description.continues or 'no environment'}, but {component.name} is"
            f" pinned to {pinned}",
            f"an environment that extends {pinned}",
            f"Run `tfhub-blocks env lock`, or set environments.{name} to another environment",
        )
    # A copy, because other nodes share the component. The SDK sends no environment of a node.
    own = copy.copy(component)
    own.environment = f"azureml:{definition.name}:{definition.version}"
    return own


def encoders_folder(reference: str) -> Path | None:
    """Return the encoders folder of a baked environment ``azureml:NAME:VERSION``, or None.

    The folder has the content of the image, for an engine that builds no image.
    """
    name = reference.removeprefix("azureml:").rpartition(":")[0]
    # Read only definitions: steps call this in parallel, and Python 3.11 cannot parse in parallel.
    for definition in read_definitions().values():
        if definition.name == name and definition.encoder:
            return Path(definition.where).absolute() / ENCODERS
    return None


def _continued(base: EnvironmentDefinition, encoder: str, description: str) -> dict[str, str]:
    facts = {
        "continues": f"{base.name}:{base.version}",
        "base_image": base.description.base_image,
        "base_image_digest": base.description.base_image_digest,
    }
    layer = f"COPY {ENCODERS}/{encoder} {IMAGE_FOLDER}/{encoder}"
    return {
        DOCKERFILE_NAME: f"{base.text(DOCKERFILE_NAME).rstrip()}\n\n{_COMMENT}\n{layer}\n",
        REQUIREMENTS_NAME: base.text(REQUIREMENTS_NAME),
        LOCK_NAME: base.text(LOCK_NAME),
        DESCRIPTION_NAME: with_facts(description, facts),
    }


def _copy_encoder(source: Path, pin: Pin, encoders: Path) -> None:
    """Copy one complete encoder into a build context, and remove any other."""
    partial = encoders.with_name(f".{ENCODERS}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        files = copy_files(source / SAVED_MODEL_FOLDER, partial / pin.digest / SAVED_MODEL_FOLDER)
        check_files(pin, files, _WHERE)
        shutil.rmtree(encoders, ignore_errors=True)
        partial.rename(encoders)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
