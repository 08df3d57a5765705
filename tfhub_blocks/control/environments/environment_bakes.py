"""Baking an encoder: an environment that continues another with a layer that holds the model."""

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

# The part of the build context that holds the encoders, each below its digest.
ENCODERS = "encoders"
_WHERE = "env bake"
_COMMENT = "# The encoder, below the digest of its files: another model makes another version."


def bake(encoder: Path, onto: str, name: str | None) -> EnvironmentDefinition:
    """Write an environment whose image holds an encoder; give its definition.

    It lies in ``components/environments`` of the working folder, with the encoder in its build
    context. Its version covers the encoder, whose digest stands in the Dockerfile. Baking the same
    again writes the same.

    Args:
        encoder: A folder with a pin that decides ``baked``, and the SavedModel beside it.
        onto: The environment that it continues.
        name: The name of its folder; ``ONTO-ENCODER`` if none is given.

    Raises:
        BlocksError: The encoder is not as it is pinned or its pin decides otherwise, the
            environment to continue is baked itself, or the folder holds something else.
    """
    pin = read_pin(encoder / PIN_NAME)
    if pin.decisions.loading != "baked":
        raise BlocksError(
            _WHERE,
            f"{encoder / PIN_NAME}: decisions.loading",
            f"it is {pin.decisions.loading!r}, so no step would look for the encoder in its image",
            "'baked'",
            "decide, and write it there",
        )
    [base] = find_environments([onto])
    if base.definition.description.continues:
        raise BlocksError(
            _WHERE,
            onto,
            f"it continues {base.definition.description.continues} itself",
            "an environment without encoders",
            "bake onto that one",
        )
    key = name or f"{base.key}-{pin.name.lower()}"
    folder = Path("components") / "environments" / key
    if folder.exists() and not read_definition(folder).description.continues:
        raise BlocksError(
            _WHERE,
            str(folder),
            "it is there, and was not made by `tfhub-blocks env bake`",
            "a new name, or that of a baked environment",
            "give another with --to",
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
    """Bring a baked environment up to date with what it continues; say what changed.

    Raises:
        BlocksError: What it continues is not defined any more.
    """
    for file, text in expected_files(environment.definition).items():
        if text != environment.definition.files.get(file, b"").decode():
            write_file(environment.folder / file, text.encode())
            yield f"{environment.folder / file}: written"


def expected_files(baked: EnvironmentDefinition) -> dict[str, str]:
    """The files of a baked environment, by name, as they follow from what it continues now.

    Raises:
        BlocksError: That is not defined, or the Dockerfile lost its layer.
    """
    name = baked.description.continues.rpartition(":")[0]
    [base] = find_environments([name])
    if not baked.encoder:
        raise BlocksError(
            f"{baked.where}/{DOCKERFILE_NAME}",
            "COPY",
            "it puts no encoder into the image",
            f"COPY {ENCODERS}/DIGEST {IMAGE_FOLDER}/DIGEST, as `tfhub-blocks env bake` writes it",
            "bake the encoder again",
        )
    return _continued(base.definition, baked.encoder, baked.text(DESCRIPTION_NAME))


def move_steps(job: Any, moves: Mapping[str, str]) -> None:
    """Let the steps of a pipeline job run in baked environments; its nodes are changed.

    Raises:
        BlocksError: As ``moved``.
    """
    for node in job.jobs.values():
        node._component = moved(node.component, moves)


def moved(component: Any, moves: Mapping[str, str]) -> Any:
    """A component as it runs in a baked environment, in the version defined now.

    A step compares its environment with the lock of what its component.py names, which is also
    that of whatever continues it.

    Args:
        component: The azure-ai-ml component, which is left as it is.
        moves: By the name of an environment, the one in which steps pinned to it run instead.

    Raises:
        BlocksError: That is not defined, or does not continue what the step is pinned to.
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
            f"{definition.name} continues {definition.description.continues or 'nothing'}, "
            f"and {component.name} is pinned to {pinned}",
            "an environment that continues exactly that",
            "run `tfhub-blocks env lock`, or name another",
        )
    # Of its own: others share the component. Of a node, the SDK does not send an environment.
    own = copy.copy(component)
    own.environment = f"azureml:{definition.name}:{definition.version}"
    return own


def encoders_folder(reference: str) -> Path | None:
    """The build context's encoders of a baked environment ``azureml:NAME:VERSION``, if it is one.

    It is what the image holds, for an engine that builds none.
    """
    name = reference.removeprefix("azureml:").rpartition(":")[0]
    # No more than definitions: steps ask this side by side, and Python 3.11 parses no sources so.
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
    """Let a build context hold one encoder, whole, and no other."""
    partial = encoders.with_name(f".{ENCODERS}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        files = copy_files(source / SAVED_MODEL_FOLDER, partial / pin.digest / SAVED_MODEL_FOLDER)
        check_files(pin, files, _WHERE)
        shutil.rmtree(encoders, ignore_errors=True)
        partial.rename(encoders)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
