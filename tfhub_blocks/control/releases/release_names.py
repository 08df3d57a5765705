"""Where release locks are, and by which names they are meant."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfhub_blocks.control.repository.catalog import pipeline_files
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.formats.releases import SUFFIX, ReleaseLock, read_lock

FOLDER = Path("pipelines") / "releases"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


def lock_path(name: str) -> Path:
    """Where the lock of a name is."""
    return FOLDER / f"{name}{SUFFIX}"


def check_name(name: str) -> None:
    """See that a release can have a name.

    Raises:
        BlocksError: It cannot, or it is that of a pipeline.
    """
    taken = name in pipeline_files()
    if taken or not _NAME.fullmatch(name):
        raise BlocksError(
            "lock",
            f"--name {name}",
            "it is the name of a pipeline" if taken else "it cannot be the name of a file",
            "small letters, digits, '.', '_' and '-', and no pipeline's name",
            "give another, such as animals-3",
        )


def find_lock(word: str) -> Path | None:
    """The file of the lock that is meant by a path that ends as locks do, or by a release's name.

    None if it is no lock that is meant.

    Raises:
        BlocksError: A path is named, and there is nothing.
    """
    path = Path(word) if word.endswith(SUFFIX) else lock_path(word)
    if path.is_file():
        return path
    if word.endswith(SUFFIX):
        raise BlocksError(
            "lock", word, "there is no such file", f"{FOLDER}/NAME{SUFFIX}", "correct the path"
        )
    return None


def require_lock(word: str) -> Path:
    """As ``find_lock``.

    Raises:
        BlocksError: There is none.
    """
    path = find_lock(word)
    if path is None:
        known = sorted(it.name.removesuffix(SUFFIX) for it in FOLDER.glob(f"*{SUFFIX}"))
        raise BlocksError(
            "lock",
            word,
            "there is no such release",
            "one of " + ", ".join(known) if known else f"a lock in {FOLDER}",
            nearest(word, known) or "tfhub-blocks lock PIPELINE --from-run RUN --name NAME",
        )
    return path


def locked_request(
    command: str, word: str, settings: Sequence[str] | None
) -> tuple[str, Sequence[str] | None]:
    """The pipeline and the settings that a release stands for; the same again if none is meant.

    Raises:
        BlocksError: There are settings beside a lock, or it is not sound.
    """
    path = find_lock(word)
    if path is None:
        return word, settings
    if settings:
        raise BlocksError(
            command,
            f"--set {settings[0]}",
            f"{word} is a release lock, which says everything",
            "a lock alone",
            "leave it out, or write a lock of what you want: tfhub-blocks lock",
        )
    lock = read_lock(path)
    return lock.pipeline, replay_settings(lock)


def replay_settings(lock: ReleaseLock) -> tuple[str, ...]:
    """A lock's inputs as words like those of ``--set``."""
    given: dict[str, Any] = {name: it.reference for name, it in lock.given.items()}
    return tuple(f"{name}={value}" for name, value in (given | dict(lock.inputs)).items())
