"""Rules for Dockerfiles: they build without accepted terms, and exact in each package."""

import re
import shlex
from collections.abc import Iterator, Sequence

from tfhub_blocks.control.environments.environment_catalog import CUDA, locked_version
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.environment.environment_definitions import (
    DOCKERFILE_NAME,
    EnvironmentDefinition,
)
from tfhub_blocks.records.environment.package_locks import LOCK_NAME

# decision 82

CHANNEL = "conda-forge"
# Channels whose terms somebody has to accept before conda downloads from them.
_WITH_TERMS = ("defaults", "main", "anaconda", "r", "msys2")
_EXACT = re.compile(r"[\w.-]+==?\d+(\.\d+)+")
_EXACT_PYTHON = re.compile(r"python==?\d+\.\d+\.\d+")
_DRIVER = re.compile(r"NVIDIA_DRIVER_CAPABILITIES=\"?([\w,]+)")
_VALUES = ("-p", "--prefix", "-n", "--name", "-c", "--channel", "-r", "--requirement")


def dockerfile_findings(definition: EnvironmentDefinition) -> Iterator[BlocksError]:
    """Yield each rule that the Dockerfile of an environment breaks."""
    where = f"{definition.where}/{DOCKERFILE_NAME}"
    for command in _commands(definition.text(DOCKERFILE_NAME)):
        if command[0] in ("conda", "mamba", "micromamba") and {"create", "install"} & {*command}:
            yield from _conda_findings(where, command)
        elif any(re.fullmatch(r"(.*/)?pip[\d.]*", word) for word in command[:3]):
            yield from _pip_findings(where, command)
    yield from _cuda_findings(where, definition)


def _commands(dockerfile: str) -> Iterator[list[str]]:
    """Yield the words of each shell command that the Dockerfile runs."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.M).replace("\\\n", " ")
    for line in re.findall(r"^RUN\s+(?:--\S+\s+)*(.+)$", text, re.I | re.M):
        for command in re.split(r"&&|\|\||;", line):
            if words := shlex.split(command):
                yield words


def _conda_findings(where: str, command: Sequence[str]) -> Iterator[BlocksError]:
    channels = [
        command[place + 1] for place, word in enumerate(command[:-1]) if word in ("-c", "--channel")
    ]
    if "--override-channels" not in command or not channels or {*channels} & {*_WITH_TERMS}:
        yield BlocksError(
            where,
            "conda",
            f"`{shlex.join(command)}` reads conda's default channels, whose terms nobody accepts"
            " in a build",
            f"--override-channels -c {CHANNEL}",
            f"Add --override-channels -c {CHANNEL} to this command in {where}",
        )
    for package in _packages(command):
        pattern = _EXACT_PYTHON if re.match(r"python\b", package) else _EXACT
        if not pattern.fullmatch(package):
            example = "python=3.11.14" if pattern is _EXACT_PYTHON else "pip=25.3"
            yield BlocksError(
                where,
                package,
                f"{package} can mean another version at the next build",
                f"an exact version, such as {example}",
                f"Write the exact version of {package.partition('=')[0]} in {where}",
            )


def _pip_findings(where: str, command: Sequence[str]) -> Iterator[BlocksError]:
    if "install" not in command:
        return
    locks = [
        command[place + 1].rpartition("/")[2]
        for place, word in enumerate(command[:-1])
        if word in ("-r", "--requirement")
    ]
    options = {"--no-deps", "--require-hashes"} <= {*command}
    if locks != [LOCK_NAME] or not options or _packages(command):
        yield BlocksError(
            where,
            "pip",
            f"`{shlex.join(command)}` can install packages that are not in {LOCK_NAME}",
            f"pip install --no-deps --require-hashes -r .../{LOCK_NAME}, and no other package",
            f"Install only the lock in {where}; write further packages in requirements.in",
        )


def _packages(command: Sequence[str]) -> list[str]:
    """Return the packages that an installing command names."""
    start = next(i for i, word in enumerate(command) if word in ("create", "install"))
    words = command[start + 1 :]
    return [
        word
        for place, word in enumerate(words)
        if not word.startswith("-") and (place == 0 or words[place - 1] not in _VALUES)
    ]


def _cuda_findings(where: str, definition: EnvironmentDefinition) -> Iterator[BlocksError]:
    if definition.base_image.cuda:
        yield BlocksError(
            where,
            "FROM",
            f"the base image has CUDA {definition.base_image.cuda}, which TensorFlow does not load:"
            " it loads NVIDIA's packages from the lock",
            "a base image without CUDA, so that the image carries CUDA once",
            f"Write FROM with an image without CUDA in {where}, and tensorflow[and-cuda] in"
            " requirements.in, then run `tfhub-blocks env lock`",
        )
    if LOCK_NAME not in definition.files or not locked_version(definition.lock, CUDA):
        return
    found = _DRIVER.search(definition.text(DOCKERFILE_NAME))
    if found is None or not {"compute", "utility"} <= {*found[1].split(",")}:
        yield BlocksError(
            where,
            "NVIDIA_DRIVER_CAPABILITIES",
            "the lock has CUDA, but the image does not ask the node for its driver's libraries",
            "ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility",
            f"Add this line to {where}, then run `tfhub-blocks env lock`",
        )
