"""The git repository of a release: its commit, and differences from that commit."""

# decisions 35 and 60

import hashlib
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath

from tfhub_blocks.control.repository.commit_copies import check_entries, is_pointer
from tfhub_blocks.control.repository.git_objects import (
    LINK,
    SUBMODULE,
    GitObjects,
    TreeEntry,
    find_git,
    find_repository,
    object_name,
)
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.project_folders import origin_path, taken_commit

_NAMED = 5
_LAST_COMMITS = 100
_SOURCES = ("components", "pipelines", "tfhub_blocks")


def open_objects(where: str) -> GitObjects:
    """Return the objects of the working folder's repository.

    Raises:
        BlocksError: The folder is in no repository.
    """
    repository = find_repository(Path.cwd())
    if repository is None:
        raise BlocksError(
            where,
            "git",
            "this folder is in no git repository",
            "a repository with a commit",
            "Run the command inside the repository, or create one with `git init` and commit",
        )
    return GitObjects(where, repository)


def clean_commit(where: str, written: Iterable[Path] = ()) -> str:
    """Return the commit of the working folder's repository, from which no local file differs.

    Each file is read and compared with the commit. Files whose changes git is set to ignore
    (assume-unchanged, skip-worktree) count as different. Below steps and pipelines, files that
    ``.gitignore`` names count too. The check is for the user: production takes the files of the
    commit, whatever the folder contains.

    Args:
        where: The command, for the error.
        written: Files that the command itself writes, which do not count.

    Raises:
        BlocksError: The folder is not in a repository, the repository has no commit, a file is not
            committed, or the commit contains a submodule or a link that leads out of it.
    """
    own = {path.resolve() for path in written}
    with open_objects(where) as objects:
        commit, top = objects.head(), objects.repository.top
        entries = {entry.path: entry for entry in objects.entries(objects.tree(commit))}
        dirty = [it for it in _uncommitted(objects, entries) if (top / it).resolve() not in own]
        if dirty:
            raise BlocksError(
                where,
                "git",
                f"the working folder differs from commit {commit[:12]}: {_listed(dirty)}",
                "a clean tree, so that others can reproduce the release",
                "Commit these files, or run `git stash --include-untracked`",
            )
        check_entries(objects, entries, commit)
    taken = taken_commit()
    if taken is not None and taken.commit != commit:
        raise BlocksError(
            where,
            "git",
            f"commit {commit[:12]} was checked out while the command read {taken.commit[:12]}",
            "",
            "Run the command again",
        )
    return commit


def uncommitted_files(objects: GitObjects) -> str:
    """Return the first files of the working folder that differ from the commit, as a text."""
    entries = objects.entries(objects.tree(objects.head()))
    return _listed(_uncommitted(objects, {entry.path: entry for entry in entries}))


def _listed(names: list[str]) -> str:
    more = f", and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def check_descends(where: str, commit: str, what: str) -> None:
    """Check that a lock's commit is in the history of the current commit.

    Raises:
        BlocksError: The commit is not in that history.
    """
    with open_objects(where) as objects:
        if commit in _history(objects, end=commit):
            return
    raise BlocksError(
        where,
        f"{what} > commit",
        f"commit {commit[:12]} is not in the history of the current commit",
        "a lock from this history",
        "Check out the branch of the lock, or write the lock again with `tfhub-blocks lock`",
    )


def latest_day(where: str) -> date:
    """Return today, or the newest commit's day if the local clock is behind that day.

    Raises:
        BlocksError: The folder is not in a repository with a commit.
    """
    with open_objects(where) as objects:
        last = _history(objects, most=_LAST_COMMITS)
        newest = max(map(objects.date, last))
    return datetime.fromtimestamp(max(time.time(), newest), UTC).date()


def _history(objects: GitObjects, end: str = "", most: int | None = None) -> list[str]:
    """Return the commits of HEAD's history, newest levels first, until one of them or a number."""
    found, waiting = dict.fromkeys([objects.head()]), [objects.head()]
    for commit in waiting:
        if commit == end or (most and len(found) >= most):
            break
        if commit in objects.boundary:
            continue
        for parent in objects.parents(commit):
            if parent not in found:
                found[parent] = None
                waiting.append(parent)
    return list(found)


def check_committed(where: str, path: Path) -> None:
    """Check that a file is part of the current commit.

    Raises:
        BlocksError: The file is not part of the current commit.
    """
    found = None if path.is_symlink() else _committed(where, path)
    if found is None or found.mode == LINK:
        raise BlocksError(
            where,
            str(path),
            f"{path} is not committed to the repository",
            "a lock that was reviewed and committed",
            "Put the lock into pipelines/releases/, have it reviewed, and commit it",
        )


def _committed(where: str, path: Path) -> TreeEntry | None:
    """Return the entry of a file in the current commit, or None."""
    full = origin_path(path).resolve()
    with open_objects(where) as objects:
        top = objects.repository.top
        if not full.is_relative_to(top):
            return None
        return objects.find(objects.head(), full.relative_to(top).as_posix())


def configured_email() -> str:
    """Return the address that git writes into new commits; empty without one."""
    return _setting("user.email")


def is_edited(path: Path) -> bool:
    """Return True if a file below ``pipelines`` differs from the commit, or is not part of it.

    Without a repository the result is False. The file of the working folder is read, because git
    may be set to ignore its changes.
    """
    file = origin_path(path).resolve()
    if find_repository(Path.cwd()) is None:
        return False
    if not file.is_relative_to(Path.cwd().resolve() / "pipelines"):
        return False
    try:
        found = _committed("git", file)
    except BlocksError:  # nothing is committed yet
        return True
    return found is None or not _is_same(file, found)


def authors_of(path: Path) -> list[str]:
    """Return the addresses of all authors who committed a change of a file.

    Raises:
        BlocksError: The history cannot be read.
    """
    full = origin_path(path).resolve()
    if find_repository(Path.cwd()) is None:
        return []
    with open_objects("git") as objects:
        name = full.relative_to(objects.repository.top).as_posix()
        done = objects.git("log", "--format=%ae", objects.head(), "--", name)
    if done.returncode != 0:
        problem = f"`git log` fails ({done.stderr.strip().partition(chr(10))[0]})"
        remedy = "Run `git fsck --full`, and fetch the repository again from its origin"
        raise BlocksError("git", str(path), problem, "the history of the file", remedy)
    return sorted(set(done.stdout.split()))


def deleted_files(where: str, folder: Path) -> list[str]:
    """Return the names of all files that a commit of the history deleted from a folder.

    A file that a later commit added again is contained too.

    Raises:
        BlocksError: The history cannot be read.
    """
    full = origin_path(folder)
    with open_objects(where) as objects:
        name = full.relative_to(objects.repository.top).as_posix()
        # With -m, a merge that drops a file of one of its parents counts.
        words = ("-m", "--no-renames", "--full-history", "--diff-filter=D", "--name-only", "-z")
        done = objects.git("log", *words, "--format=", objects.head(), "--", name)
    if done.returncode != 0:
        problem = f"`git log` fails ({done.stderr.strip().partition(chr(10))[0]})"
        remedy = "Run `git fsck --full`, and fetch the repository again from its origin"
        raise BlocksError(where, str(full), problem, "the history of the folder", remedy)
    paths = {path.strip() for path in done.stdout.split("\0")} - {""}
    return sorted(path.removeprefix(f"{name}/") for path in paths)


def _uncommitted(objects: GitObjects, entries: dict[str, TreeEntry]) -> list[str]:
    """Return each file of the repository that differs from the commit, sorted."""
    top = objects.repository.top
    here = Path.cwd().resolve()
    prefix = "" if here == top else f"{here.relative_to(top).as_posix()}/"
    changed = [
        path
        for path, entry in entries.items()
        if not _is_same(top / path, entry, _is_source(path, prefix), objects)
    ]
    return sorted({*changed, *_untracked(objects, prefix), *_overlooked(objects)})


def _is_source(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and path.removeprefix(prefix).partition("/")[0] in _SOURCES


def _is_same(
    path: Path, entry: TreeEntry, exactly: bool = True, objects: GitObjects | None = None
) -> bool:
    """Return True if a file has the bytes of the commit.

    Outside steps and pipelines, line ends that git converts and files of Git LFS count as equal.
    """
    digits = len(entry.name)
    if entry.mode == SUBMODULE:
        return True  # refused, whatever the folder contains
    try:
        if path.is_symlink():
            return (
                entry.mode == LINK and object_name(os.fsencode(path.readlink()), digits)
            ) == entry.name
        content = path.read_bytes()
    except OSError:
        return False
    if object_name(content, digits) == entry.name:
        return True
    if exactly or objects is None or entry.mode == LINK:
        return False
    if object_name(content.replace(b"\r\n", b"\n"), digits) == entry.name:
        return True
    committed = objects.read(entry.name)
    return is_pointer(committed) and _is_of_pointer(content, committed)


def _is_of_pointer(content: bytes, pointer: bytes) -> bool:
    words = {f"oid sha256:{hashlib.sha256(content).hexdigest()}", f"size {len(content)}"}
    return words <= set(pointer.decode("utf-8", "replace").splitlines())


def _untracked(objects: GitObjects, prefix: str) -> Iterator[str]:
    """Yield each file that is not in the commit, and the ignored ones of steps and pipelines.

    The patterns that git ignores are those of ``.gitignore``, of the repository and of the user.
    """
    top = objects.repository.top
    own = objects.repository.common / "info" / "exclude"
    if own.is_file():
        (objects.folder / "info" / "exclude").write_bytes(own.read_bytes())
    user = _setting("core.excludesFile", "--global", "--path")
    options = ("-c", f"core.excludesFile={user or _default_excludes()}")
    more = {"GIT_WORK_TREE": str(top), "GIT_INDEX_FILE": str(objects.folder / "index")}
    objects.git("read-tree", objects.tree(objects.head()), **more)
    listing = (*options, "ls-files", "-z", "--full-name", "--others", "--exclude-standard")
    yield from filter(None, objects.git(*listing, **more).stdout.split("\0"))
    ignored = objects.git(*listing, "--ignored", "--directory", **more).stdout.split("\0")
    yield from (it for it in ignored if it and _counts(it, prefix))


def _overlooked(objects: GitObjects) -> Iterator[str]:
    """Yield each file whose changes git is set to ignore."""
    index = str(objects.repository.head / "index")
    listed = objects.git("ls-files", "-v", "-z", GIT_INDEX_FILE=index)
    # A lower-case letter is assume-unchanged, S is skip-worktree.
    found = (it for it in listed.stdout.split("\0") if it)
    yield from (it[2:] for it in found if it[0].islower() or it[0] == "S")


def _default_excludes() -> Path:
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "git" / "ignore"


def _counts(ignored: str, prefix: str) -> bool:
    """Return True if a file that git ignores lies among steps and pipelines."""
    parts = PurePosixPath(ignored.removeprefix(prefix)).parts
    if not ignored.startswith(prefix) or "__pycache__" in parts or ignored.endswith(".pyc"):
        return False
    # Dockerfiles name the parts of their images by digest.
    return parts[0] in _SOURCES and parts[:2] != ("components", "environments")


def _setting(name: str, *options: str) -> str:
    """Return one of the user's settings of git, which names somebody or what git ignores."""
    repository = find_repository(Path.cwd())
    git = find_git(repository.top if repository else Path.cwd().resolve())
    if not git:
        return ""
    variables = {
        key: text
        for key, text in os.environ.items()
        if not key.startswith("GIT_") or key.startswith("GIT_CONFIG")
    }
    command = [git, "config", *options, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    return done.stdout.strip()
