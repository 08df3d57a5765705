"""Rules on environments: a step runs in the same environment next year."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.environments.environment_catalog import CUDA, CUDNN
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Subject
from tfhub_blocks.records.environment.environment_definitions import DESCRIPTION_NAME
from tfhub_blocks.records.environment.package_locks import LOCK_NAME

_LOCK = "Run `tfhub-blocks env lock`"
_VERSIONED = re.compile(r"azureml:(//\S+/versions/[^/@\s]+|[^/:@\s]+:[^/:@\s]+)")
_INSTALL = re.compile(
    r"\b(?:(?:uv\s+)?pip[\d.]*|conda|mamba|apt|apt-get|yum|npm|gem)\s+(?:-\S+\s+)*install\b"
    r"|\bsetup\.py\s+install\b|\b(?:curl|wget)\b[^|;]*\|\s*(?:ba)?sh\b"
)
_SHOWN = 3


@rule(
    "environment-version",
    demand="a step names its environment by an exact version",
    why="a label or a bare name may mean another environment later, and give another result",
)
def environment_version(subject: Subject) -> Iterator[Finding]:
    """Find steps whose environment is a label, a bare name, or missing."""
    for step, reference in subject.environments():
        if not _VERSIONED.fullmatch(reference):
            yield subject.at_step(
                step,
                f"the environment is {reference}" if reference else "no environment is named",
                "Name azureml:NAME:VERSION; `tfhub-blocks env show` lists the environments",
                "environment",
            )


@rule(
    "environment-lock",
    demand="an environment is defined in the repository, with a lock of hashes for all packages",
    why="unlocked packages are resolved again for each image, and change",
    trial="warning",
)
def environment_lock(subject: Subject) -> Iterator[Finding]:
    """Find environments that are not defined, of another version, or without hashes."""
    for (step, reference), definition in subject.environments().items():
        if definition is None:
            yield subject.at_step(
                step,
                f"{reference or 'the environment'} is not defined in the repository, so its lock "
                "is unknown",
                "Define it in components/environments; copy a folder that is there",
                "environment",
            )
            continue
        version = reference.rpartition(":")[2]
        if _VERSIONED.fullmatch(reference) and definition.version != version:
            problem = f"the step names {reference}, and the defined version is {definition.version}"
            yield subject.at_step(step, problem, _LOCK, "environment")
        lock = subject.repository.lock(definition)
        bare = [package.name for package in lock.packages if not package.is_hashed]
        if bare:
            names = ", ".join(bare[:_SHOWN]) + (" and others" if len(bare) > _SHOWN else "")
            yield subject.at_environment(definition, LOCK_NAME, f"no hash for {names}", _LOCK)


@rule(
    "environment-install",
    demand="no step installs a package while it runs",
    why="packages installed at run time are in no lock, so the step changes from day to day",
)
def environment_install(subject: Subject) -> Iterator[Finding]:
    """Find installs in a node's command, or in a process that a component's code starts."""
    remedy = "Add the package to the environment's requirements.in, and run `tfhub-blocks env lock`"
    for node in subject.nodes:
        if found := _INSTALL.search(node.command):
            yield subject.at_node(node, f"the node's command contains {found[0]!r}", remedy)
    for step in subject.steps.values():
        for call in subject.sources.commands(step.path) if step.path else ():
            if found := _INSTALL.search(" ".join(call.texts)):
                problem = f"the step runs {found[0]!r}"
                yield subject.at_step(step.name, problem, remedy, line=call.line)


@rule(
    "environment-cuda",
    demand="the environment of a GPU step pins the versions of CUDA and cuDNN",
    why="a GPU runtime that comes with the image changes speed and results unnoticed",
    trial="warning",
)
def environment_cuda(subject: Subject) -> Iterator[Finding]:
    """Find locks without CUDA or cuDNN; the image's own runtime is not the one that is loaded."""
    roles = {(node.component, node.environment): node.role for node in subject.nodes}
    for pair, definition in subject.environments().items():
        if definition is None or roles[pair] != "gpu":
            continue
        lacking = [
            title
            for title, pattern in (("CUDA", CUDA), ("cuDNN", CUDNN))
            if not subject.repository.locks_package(definition, pattern)
        ]
        if lacking:
            missing = " and ".join(lacking)
            yield subject.at_environment(
                definition,
                LOCK_NAME,
                f"{pair[0]} runs on a GPU, and the lock names no version of {missing}",
                "Add tensorflow[and-cuda] to requirements.in, and run `tfhub-blocks env lock`",
            )


@rule(
    "environment-owner",
    demand="each environment has one owner",
    why="an environment without an owner, or with two, is not fixed, updated or retired",
    trial="warning",
)
def environment_owner(subject: Subject) -> Iterator[Finding]:
    """Find environments without an owner in environment.yaml, and second definitions."""
    used = [found for found in subject.environments().values() if found is not None]
    for definition in {definition.key: definition for definition in used}.values():
        if not definition.description.owner.strip():
            yield subject.at_environment(
                definition,
                DESCRIPTION_NAME,
                "the environment has no owner",
                f"Add owner: NAME to {DESCRIPTION_NAME}",
            )
        twins = [
            other.key
            for other in subject.repository.environment_definitions
            if other.name == definition.name and other.key != definition.key
        ]
        if twins:
            yield subject.at_environment(
                definition,
                DESCRIPTION_NAME,
                f"{', '.join(twins)} also defines {definition.name}",
                "Rename one of the environments",
            )


@rule(
    "environment-shared",
    demand="no baked environment is shared by trial profiles and others",
    why="a profile names it without a version: baking for an experiment would change production",
    trial="warning",
)
def environment_shared(subject: Subject) -> Iterator[Finding]:
    """Find shared names in [environments]; a version that a step is pinned to cannot change."""
    profile = subject.profile
    for other in subject.repository.other_profiles if profile.environments else ():
        if other.is_for_trials == profile.is_for_trials:
            continue
        for name, baked in profile.environments.items():
            if baked in other.environments.values():
                yield subject.at_profile(
                    f"environments.{name}",
                    f"profile {other.name} runs steps in {baked} too",
                    "Bake an environment for each: `tfhub-blocks env bake ENCODER --to NAME`",
                )
