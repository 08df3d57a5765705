"""Names and files of release locks."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfhub_blocks.control.repository.catalog import pipeline_files
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.project_folders import project_folder, taken_path
from tfhub_blocks.records.formats.releases import SUFFIX, ReleaseLock, read_lock

FOLDER = Path("pipelines") / "releases"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


def lock_path(name: str) -> Path:
    """Return the path of the lock with a name."""
    return FOLDER / f"{name}{SUFFIX}"


def lock_files() -> dict[Path, Path]:
    """Return the file of each lock by its path in the project, sorted."""
    files = sorted((project_folder() / FOLDER).glob(f"*{SUFFIX}"))
    return {FOLDER / file.name: file for file in files}


def check_name(name: str) -> None:
    """Check that a release can have a name.

    Raises:
        BlocksError: The name has forbidden characters, or belongs to a pipeline.
    """
    taken = name in pipeline_files()
    if taken or not _NAME.fullmatch(name):
        raise BlocksError(
            "lock",
            f"--name {name}",
            f"{name} is a pipeline" if taken else f"{name} cannot be the name of a release",
            "small letters, digits, '.', '_' and '-', and no pipeline's name",
            "Pass another --name, such as animals-3",
        )


def find_lock(word: str) -> Path | None:
    """Return the file of a lock, named by its path or by the release's name, or None.

    A text that ends like a lock's file is a path.

    Raises:
        BlocksError: The path of a lock does not exist.
    """
    path = taken_path(Path(word) if word.endswith(SUFFIX) else lock_path(word))
    if path.is_file():
        return path
    if word.endswith(SUFFIX):
        raise BlocksError(
            "lock",
            word,
            f"{word} does not exist",
            f"{FOLDER}/NAME{SUFFIX}",
            f"Pass a release or lock that `ls {FOLDER}` lists",
        )
    return None


def require_lock(word: str) -> Path:
    """Return the file of a lock, as ``find_lock`` does, and fail without one.

    Raises:
        BlocksError: The release does not exist.
    """
    path = find_lock(word)
    if path is None:
        known = [it.name.removesuffix(SUFFIX) for it in lock_files()]
        raise BlocksError(
            "lock",
            word,
            f"release {word} does not exist",
            "one of " + ", ".join(known) if known else f"a lock in {FOLDER}",
            nearest(word, known)
            or "Write a lock with `tfhub-blocks lock PIPELINE --from-run RUN --name NAME`",
        )
    return path


def locked_request(
    command: str, word: str, settings: Sequence[str] | None
) -> tuple[str, Sequence[str] | None]:
    """Resolve a release name to its pipeline and settings; return anything else unchanged.

    Raises:
        BlocksError: Settings are passed together with a lock, or the lock is not valid.
    """
    path = find_lock(word)
    if path is None:
        return word, settings
    if settings:
        raise BlocksError(
            command,
            f"--set {settings[0]}",
            f"{word} is a release lock, which fixes all inputs",
            "a release without --set",
            "Leave out --set, or write another lock with `tfhub-blocks lock`",
        )
    lock = read_lock(path)
    return lock.pipeline, replay_settings(lock)


def replay_settings(lock: ReleaseLock) -> tuple[str, ...]:
    """Return a lock's inputs as words like those of ``--set``."""
    given: dict[str, Any] = {name: it.reference for name, it in lock.given.items()}
    return tuple(f"{name}={value}" for name, value in (given | dict(lock.inputs)).items())
