"""Profiles: where a pipeline runs and under which limits, apart from what it does."""

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal

from tfhub_blocks.records.documents import read_document
from tfhub_blocks.records.drift import Policy
from tfhub_blocks.records.errors import BlocksError, nearest

FORMAT_VERSION = 1
_VARIABLE = re.compile(r"\$(\w+|\{\w+\})")


@dataclass(frozen=True)
class Role:
    """What the steps of one role run on, and how long one may take."""

    compute: str
    timeout_s: int


@dataclass(frozen=True)
class Profile:
    """A profile, read and checked.

    ``environment_policy`` says what steps do that run in another environment than they are pinned
    to; where it is not given, the environment variable of that policy counts, and then ``warn``.
    ``environments`` names for an environment the one in which steps that are pinned to it run
    instead, both by name alone: one that continues it, with an encoder baked in.
    ``inputs`` goes to each pipeline that has an input of that name, as words like those of
    ``--set``, with ``$NAME`` taken from the environment.
    """

    description: str
    engine: Literal["local"]
    roles: Mapping[str, Role]
    max_parallel_steps: int = 2
    environment_policy: Policy | None = None
    environments: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    name: str = ""


def profile_folders() -> list[Path]:
    """Where profiles are looked for, in order: the working folder's, then the installed ones."""
    return [Path.cwd() / "pipelines" / "profiles", Path(str(files("pipelines"))) / "profiles"]


def load_profile(name: str) -> Profile:
    """A profile by name, or by the path of its file.

    Raises:
        BlocksError: There is none of that name, or it holds something that is not understood.
    """
    found = {
        path.stem: path for folder in reversed(profile_folders()) for path in folder.glob("*.toml")
    }
    path = Path(name) if name.endswith(".toml") else found.get(name)
    if path is None or not path.is_file():
        raise BlocksError(
            "profile",
            name,
            "there is no such profile",
            "one of " + ", ".join(sorted(found)),
            nearest(name, found) or "name one of these, or a path that ends in .toml",
        )
    profile = read_document(path, Profile, FORMAT_VERSION)
    if profile.max_parallel_steps < 1:
        raise BlocksError(
            "profile",
            f"{path} > max_parallel_steps",
            f"it is {profile.max_parallel_steps}",
            "at least 1",
            "correct it",
        )
    # An input whose variable is not set is not given, so that the pipeline's default counts.
    variables = {"USER": _user()} | os.environ  # cron and containers do not set USER
    inputs = {
        key: Template(text).safe_substitute(variables) for key, text in profile.inputs.items()
    }
    inputs = {key: text for key, text in inputs.items() if text and not _VARIABLE.search(text)}
    return replace(profile, name=path.stem, inputs=inputs)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return ""
