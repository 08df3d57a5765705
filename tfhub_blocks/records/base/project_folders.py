"""The folder of the project: the working folder, or production's private copy of a commit."""

# decision 60

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tfhub_blocks


@dataclass(frozen=True)
class TakenCommit:
    """A commit whose private copy stands for the repository.

    Args:
        commit: The name of the commit.
        root: The copy of the commit's files.
        origin: The top folder of the repository.
        project: The project inside the copy.
    """

    commit: str
    root: Path
    origin: Path
    project: Path

    @property
    def package(self) -> Path | None:
        """The running ``tfhub_blocks`` as the commit contains it; None if it is installed."""
        own = _running_package().resolve()
        if not own.is_relative_to(self.origin):
            return None
        copy = self.root / own.relative_to(self.origin)
        return copy if (copy / "__init__.py").is_file() else None


_taken: list[TakenCommit] = []


@contextmanager
def take_commit(commit: TakenCommit) -> Iterator[None]:
    """Let the copy of a commit stand for the project until the block ends."""
    _taken.append(commit)
    try:
        yield
    finally:
        _taken.remove(commit)


def taken_commit() -> TakenCommit | None:
    """Return the commit whose copy stands for the project, or None for the working folder."""
    return _taken[-1] if _taken else None


def project_folder() -> Path:
    """Return the folder that contains ``components`` and ``pipelines``."""
    return _taken[-1].project if _taken else Path.cwd()


def package_folder() -> Path:
    """Return the folder of the ``tfhub_blocks`` package that steps and pipelines are read from."""
    own = _taken[-1].package if _taken else None
    return own or _running_package()


def _running_package() -> Path:
    return Path(str(tfhub_blocks.__file__)).parent


def taken_path(path: Path) -> Path:
    """Return the copy of a file of the repository; the path itself if the commit lacks the file."""
    taken = taken_commit()
    # A link to the file is another file, which may be elsewhere.
    full = path.absolute().parent.resolve() / path.name
    if taken is None or not full.is_relative_to(taken.origin):
        return path
    copy = taken.root / full.relative_to(taken.origin)
    return copy if copy.exists() or copy.is_symlink() else path


def origin_path(path: Path) -> Path:
    """Return the path in the repository for a path in the copy; other paths are unchanged."""
    taken = taken_commit()
    if taken is None or not path.is_relative_to(taken.root):
        return path
    return taken.origin / path.relative_to(taken.root)


def origin_text(text: str) -> str:
    """Return a message that names the files of the project in place of their copies."""
    taken = taken_commit()
    if taken is None:
        return text
    return text.replace(f"{taken.project}/", "").replace(str(taken.root), str(taken.origin))
