"""Profiles: where a pipeline runs and under which limits, apart from what it does."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from tfhub_blocks.records.errors import BlocksError, nearest

KEYS = {"description", "engine", "max_parallel_steps", "roles", "inputs"}
ROLE_KEYS = {"compute", "timeout_s"}


@dataclass(frozen=True)
class Role:
    """What the steps of one role run on, and how long one may take."""

    compute: str
    timeout_s: int


@dataclass(frozen=True)
class Profile:
    """A profile, read and checked."""

    name: str
    engine: str
    max_parallel_steps: int
    roles: Mapping[str, Role]
    inputs: Mapping[str, Any]


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
    try:
        record = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BlocksError("profile", str(path), str(error), "TOML", "mend that line") from error
    _check_keys(path, record, KEYS)
    roles = {}
    for role, limits in record.get("roles", {}).items():
        _check_keys(path, limits, ROLE_KEYS)
        roles[role] = Role(str(limits["compute"]), int(limits["timeout_s"]))
    return Profile(
        name=path.stem,
        engine=str(record["engine"]),
        max_parallel_steps=int(record.get("max_parallel_steps", 2)),
        roles=roles,
        inputs={
            key: os.path.expandvars(value) if isinstance(value, str) else value
            for key, value in record.get("inputs", {}).items()
        },
    )


def _check_keys(path: Path, record: Mapping[str, Any], known: set[str]) -> None:
    for key in record.keys() - known:
        raise BlocksError(
            "profile",
            f"{path} > {key}",
            "there is no such key",
            "one of " + ", ".join(sorted(known)),
            nearest(key, known) or "remove it",
        )
    for key in known & {"engine", "roles", "compute", "timeout_s"} - record.keys():
        raise BlocksError("profile", f"{path} > {key}", "this key is missing", "it", "add it")
