"""Private copies of commits: exactly the files of a commit, without filters or bytecode."""

# decision 60

import os
import posixpath
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tfhub_blocks.control.repository.git_objects import (
    FILE,
    LINK,
    PROGRAM,
    SUBMODULE,
    GitObjects,
    TreeEntry,
)
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.project_folders import TakenCommit

LFS = b"version https://git-lfs.github.com/spec/"
LFS_BYTES = 1024
_SOURCES = ("components", "pipelines", "tfhub_blocks", "encoders")
_MODES = {FILE: 0o600, "100664": 0o600, PROGRAM: 0o700}
_LINKS = 40


@contextmanager
def commit_copy(objects: GitObjects, folder: Path, commit: str = "") -> Iterator[TakenCommit]:
    """Write a copy of a commit, which only this user can read.

    The copy contains exactly the files of the commit, each compared with its name in the commit.
    Nothing of the working folder is read.

    Args:
        objects: The repository.
        folder: The folder of the project, inside the repository.
        commit: The name of the commit; the one that is checked out without a name.

    Raises:
        BlocksError: The commit contains a submodule, a link that leads out of it, or Git LFS
            pointers in place of steps and pipelines; or an object is damaged.
    """
    commit, top = commit or objects.head(), objects.repository.top
    entries = {entry.path: entry for entry in objects.entries(objects.tree(commit))}
    prefix = "" if folder.resolve() == top else f"{folder.resolve().relative_to(top).as_posix()}/"
    links = check_entries(objects, entries, commit)
    with tempfile.TemporaryDirectory(prefix="tfhub-blocks-commit-") as scratch:
        root = Path(scratch).resolve()
        for entry in entries.values():
            if entry.mode != LINK:
                _write(objects, entry, root / entry.path)
        _refuse_pointers(objects, entries, root, prefix)
        for path, target in links.items():  # last, so that no file is written through one
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).symlink_to(target)
        project = root / prefix
        project.mkdir(parents=True, exist_ok=True)
        yield TakenCommit(commit, root, top, project)


def _write(objects: GitObjects, entry: TreeEntry, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(path, flags, _MODES[entry.mode]), "wb") as target:
        objects.copy(entry.name, target)


def check_entries(
    objects: GitObjects, entries: Mapping[str, TreeEntry], commit: str
) -> dict[str, str]:
    """Check that a commit contains only files and links inside it; return each link's target.

    Raises:
        BlocksError: An entry is a submodule or unknown, or a link leads out of the commit.
    """
    links = {
        it.path: os.fsdecode(objects.read(it.name)) for it in entries.values() if it.mode == LINK
    }
    for path, entry in entries.items():
        if entry.mode == SUBMODULE:
            raise _refuse(
                objects,
                f"commit {commit[:12]} contains the submodule {path}",
                "files of the commit itself",
                f"Copy the files of {path} into the repository, or run `git rm {path}`",
            )
        if entry.mode not in _MODES and entry.mode != LINK:
            raise _refuse(
                objects,
                f"{path} in commit {commit[:12]} has the unknown mode {entry.mode}",
                "files and links",
                f"Add {path} again with `git rm --cached {path}` and `git add {path}`",
            )
    known = set(entries)
    known |= {parent for path in entries for parent in _parents(path)}
    for path in links:
        if _end_of(path, links) not in known:
            raise _refuse(
                objects,
                f"commit {commit[:12]} contains {path}, a link to {links[path]!r}, which is not "
                "in the commit",
                "links to files of the commit",
                f"Replace the link {path} by the file itself, and commit that after a review",
            )
    return links


def _parents(path: str) -> Iterator[str]:
    while path:
        path = posixpath.dirname(path)
        yield path


def _end_of(path: str, links: Mapping[str, str]) -> str | None:
    """Return the path that a link leads to, through other links; None if that is outside."""
    waiting, reached = path.split("/"), list[str]()
    for _ in range(10_000):
        if not waiting:
            return "/".join(reached)
        part = waiting.pop(0)
        if part == "..":
            if not reached:
                return None
            reached.pop()
        elif part not in ("", "."):
            reached.append(part)
            target = links.get("/".join(reached))
            if target is not None:
                if target.startswith("/") or len(waiting) > _LINKS * 100:
                    return None
                reached.pop()
                waiting = [*target.split("/"), *waiting]
    return None


def _refuse_pointers(
    objects: GitObjects, entries: Mapping[str, TreeEntry], root: Path, prefix: str
) -> None:
    """Refuse pointers of Git LFS among the sources: their content is not in the commit."""
    for path in entries:
        inner = path.removeprefix(prefix)
        is_source = path.startswith(prefix) and inner.partition("/")[0] in _SOURCES
        if "saved_model/" in inner or not is_source or not (root / path).is_file():
            continue  # the pin states the digests of a SavedModel's files
        if is_pointer((root / path).read_bytes()[:LFS_BYTES]):
            raise _refuse(
                objects,
                f"{path} in the commit is a pointer of Git LFS, and not the file",
                "the file itself",
                f"Run `git lfs untrack {path}`, add the file again and commit it",
            )


def is_pointer(content: bytes) -> bool:
    """Return True if a blob is a pointer of Git LFS to a file elsewhere."""
    return len(content) <= LFS_BYTES and content.startswith(LFS)


def _refuse(objects: GitObjects, problem: str, expected: str, remedy: str) -> BlocksError:
    return BlocksError(objects.where, "git", problem, expected, remedy)
