"""What an environment has to be, so that a step runs in the same one next year."""

import re
from collections.abc import Iterator

from tfhub_blocks.control.environments.environment_catalog import CUDA, CUDNN
from tfhub_blocks.control.rules.rule import Finding, rule
from tfhub_blocks.control.rules.subject import Subject
from tfhub_blocks.records.environment.environment_definitions import DESCRIPTION_NAME
from tfhub_blocks.records.environment.package_locks import LOCK_NAME

_LOCK = "run `tfhub-blocks env lock`"
_VERSIONED = re.compile(r"azureml:(//\S+/versions/[^/@\s]+|[^/:@\s]+:[^/:@\s]+)")
_INSTALL = re.compile(
    r"\b(?:(?:uv\s+)?pip[\d.]*|conda|mamba|apt|apt-get|yum|npm|gem)\s+(?:-\S+\s+)*install\b"
    r"|\bsetup\.py\s+install\b|\b(?:curl|wget)\b[^|;]*\|\s*(?:ba)?sh\b"
)
_SHOWN = 3


@rule(
    "environment-version",
    demand="a step names its environment by an exact version",
    why="a label or a bare name means another environment on another day, and another result",
)
def environment_version(subject: Subject) -> Iterator[Finding]:
    """Neither a label nor a name alone nor nothing."""
    for step, reference in subject.environments():
        if not _VERSIONED.fullmatch(reference):
            yield subject.at_step(
                step,
                f"its environment is {reference or 'not named'}",
                "name azureml:NAME:VERSION; `tfhub-blocks env show` tells which there are",
                "environment",
            )


@rule(
    "environment-lock",
    demand="an environment is defined here, with a lock in which every package has a hash",
    why="what is not locked is resolved anew for each image, and drifts",
    trial="warning",
)
def environment_lock(subject: Subject) -> Iterator[Finding]:
    """Defined, in the version that is named, and hashed."""
    for (step, reference), definition in subject.environments().items():
        if definition is None:
            yield subject.at_step(
                step,
                f"{reference or 'its environment'} is not defined here, so nobody sees its lock",
                "define it in components/environments (docs/environments.md)",
                "environment",
            )
            continue
        version = reference.rpartition(":")[2]
        if _VERSIONED.fullmatch(reference) and definition.version != version:
            problem = f"it names {reference}, and what is defined is {definition.version}"
            yield subject.at_step(step, problem, _LOCK, "environment")
        lock = subject.repository.lock(definition)
        bare = [package.name for package in lock.packages if not package.is_hashed]
        if bare:
            told = ", ".join(bare[:_SHOWN]) + (" and others" if len(bare) > _SHOWN else "")
            yield subject.at_environment(definition, LOCK_NAME, f"no hash for {told}", _LOCK)


@rule(
    "environment-install",
    demand="no step installs a package while it runs",
    why="what is installed at run time is in no lock: the same step is another one tomorrow",
)
def environment_install(subject: Subject) -> Iterator[Finding]:
    """Neither in a node's command nor by a process that a component's code starts."""
    remedy = "put the package into the environment's requirements.in, and run `env lock`"
    for node in subject.nodes:
        if found := _INSTALL.search(node.command):
            yield subject.at_node(node, f"its command holds {found[0]!r}", remedy)
    for step in subject.steps.values():
        for call in subject.sources.commands(step.path) if step.path else ():
            if found := _INSTALL.search(" ".join(call.texts)):
                problem = f"it runs {found[0]!r}"
                yield subject.at_step(step.name, problem, remedy, line=call.line)


@rule(
    "environment-cuda",
    demand="the environment of a GPU step names its versions of CUDA and cuDNN",
    why="a GPU runtime that comes with whatever image changes speed and results unseen",
    trial="warning",
)
def environment_cuda(subject: Subject) -> Iterator[Finding]:
    """In the lock: the image's own may be another, and is not the one that is loaded."""
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
            told = " and ".join(lacking)
            yield subject.at_environment(
                definition,
                LOCK_NAME,
                f"{pair[0]} runs on a GPU, and the lock names no version of {told}",
                "ask for tensorflow[and-cuda] in requirements.in, then run `tfhub-blocks env lock`",
            )


@rule(
    "environment-owner",
    demand="each environment has one owner",
    why="nobody mends, updates or ends what belongs to nobody, or to two",
    trial="warning",
)
def environment_owner(subject: Subject) -> Iterator[Finding]:
    """A name in environment.yaml, and no second definition of that environment."""
    used = [found for found in subject.environments().values() if found is not None]
    for definition in {definition.key: definition for definition in used}.values():
        if not definition.description.owner.strip():
            yield subject.at_environment(
                definition, DESCRIPTION_NAME, "it has no owner", "add owner: ..."
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
                "give each environment a name of its own",
            )


@rule(
    "environment-shared",
    demand="no baked environment is shared by profiles to try things and others",
    why="a profile names it without a version: baking for an experiment would change production",
    trial="warning",
)
def environment_shared(subject: Subject) -> Iterator[Finding]:
    """Only what [environments] names: what a step is pinned to cannot be changed by anybody."""
    profile = subject.profile
    for other in subject.repository.other_profiles if profile.environments else ():
        if other.is_for_trials == profile.is_for_trials:
            continue
        for name, baked in profile.environments.items():
            if baked in other.environments.values():
                yield subject.at_profile(
                    f"environments.{name}",
                    f"{baked} is also what profile {other.name} runs steps in",
                    "bake one for each: `tfhub-blocks env bake ENCODER --to NAME`",
                )
