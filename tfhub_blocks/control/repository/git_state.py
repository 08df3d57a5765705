"""The git repository of a release: its commit, and differences from that commit."""

# decision 35

import hashlib
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path, PurePosixPath

from tfhub_blocks.records.base.errors import BlocksError

_NAMED = 5
_LAST_COMMITS = 100
_SOURCES = frozenset({"components", "pipelines", "tfhub_blocks"})
# Against settings of hooks, shells and the repository: no replaced commits, no program that
# reports changes instead of git, and literal paths.
_PLAIN = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull}
_OPTIONS = ("--literal-pathspecs", "-c", "core.fsmonitor=false")
_LINK = "120000"


def clean_commit(where: str, written: Iterable[Path] = ()) -> str:
    """Return the commit of the working folder's repository, from which no local file differs.

    Files whose changes git is set to ignore (assume-unchanged, skip-worktree) count as different.
    Below steps and pipelines, files that ``.gitignore`` names count too, because a release would
    contain them. There each file is read and compared with the commit, because a filter or an old
    timestamp can hide an edit from git. Links count as different, because their targets are not in
    the commit.

    Args:
        where: The command, for the error.
        written: Files that the command itself writes, which do not count.

    Raises:
        BlocksError: The folder is not in a repository, the repository has no commit, or a file is
            not committed.
    """
    root = Path(_git(where, "rev-parse", "--show-toplevel").strip())
    if not Path.cwd().resolve().is_relative_to(root.resolve()):
        raise BlocksError(
            where,
            "git",
            f"git's setting core.worktree points to {root}, outside this folder",
            "a repository of this folder",
            "Run `git config --unset core.worktree`",
        )
    commit = _git(where, "rev-parse", "--verify", "HEAD").strip()
    own = {path.resolve() for path in written}
    dirty = [name for name in _dirty(where) if (root / name).resolve() not in own]
    if dirty:
        listed = ", ".join(dirty[:_NAMED])
        if len(dirty) > _NAMED:
            listed += f", and {len(dirty) - _NAMED} more"
        raise BlocksError(
            where,
            "git",
            f"the working folder differs from commit {commit[:12]}: {listed}",
            "a clean tree, so that others can reproduce the release",
            "Commit these files, or run `git stash --include-untracked`",
        )
    return commit


def check_descends(where: str, commit: str, what: str) -> None:
    """Check that a lock's commit is in the history of the current commit.

    Raises:
        BlocksError: The commit is not in that history.
    """
    done = _run("merge-base", "--is-ancestor", commit, "HEAD")
    if done.returncode != 0:
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
    seconds = _git(where, "log", f"--max-count={_LAST_COMMITS}", "--format=%ct").split()
    return datetime.fromtimestamp(max(time.time(), *map(int, seconds)), UTC).date()


def check_committed(where: str, path: Path) -> None:
    """Check that a file is part of the current commit.

    Raises:
        BlocksError: The file is not part of the current commit.
    """
    if path.is_symlink() or _run("ls-files", "--error-unmatch", str(path)).returncode != 0:
        raise BlocksError(
            where,
            str(path),
            f"{path} is not committed to the repository",
            "a lock that was reviewed and committed",
            "Put the lock into pipelines/releases/, have it reviewed, and commit it",
        )


def configured_email() -> str:
    """Return the address that git writes into new commits; empty without one."""
    return _run("config", "user.email").stdout.strip()


def is_edited(path: Path) -> bool:
    """Return True if a file below ``pipelines`` differs from the commit, or is not part of it.

    Without a repository the result is False. The file itself is read, because git may be set to
    ignore its changes.
    """
    here = Path.cwd().resolve()
    top = _run("rev-parse", "--show-toplevel")
    if top.returncode != 0 or not path.resolve().is_relative_to(here / "pipelines"):
        return False
    name = path.resolve().relative_to(Path(top.stdout.rstrip("\n")).resolve()).as_posix()
    committed = _run("rev-parse", "--verify", "--quiet", f"HEAD:{name}").stdout.strip()
    return not committed or _object_name(path, len(committed)) != committed


def authors_of(path: Path) -> list[str]:
    """Return the addresses of all authors who committed a change of a file."""
    return sorted(set(_run("log", "--format=%ae", "--", str(path)).stdout.split()))


def _dirty(where: str) -> list[str]:
    words = ["status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--ignored"]
    words += ["--ignore-submodules=none"]
    prefix = _git(where, "rev-parse", "--show-prefix").rstrip("\n")
    entries = [entry for entry in _git(where, *words).split("\0") if entry]
    names = [it[3:] for it in entries if not it.startswith("!!") or _counts(it[3:], prefix)]
    # A lower-case letter is assume-unchanged, S is skip-worktree.
    top = _git(where, "rev-parse", "--show-cdup").strip() or "."
    listed = _git(where, "ls-files", "-v", "-z", "--full-name", top).split("\0")
    hidden = [entry[2:] for entry in listed if entry and (entry[0].islower() or entry[0] == "S")]
    return sorted({*names, *hidden, *_other_sources(where, prefix)})


def _other_sources(where: str, prefix: str) -> Iterator[str]:
    """Yield each file of steps and pipelines whose bytes differ from the commit, and each link."""
    for entry in _git(where, "ls-tree", "-r", "-z", "HEAD", *sorted(_SOURCES)).split("\0"):
        facts, _, name = entry.partition("\t")
        mode, kind, digest = facts.split() if facts else ("", "", "")
        if mode == _LINK:
            yield f"{prefix}{name} (a link)"
        elif kind == "blob" and _object_name(Path(name), len(digest)) != digest:
            yield prefix + name


def _object_name(path: Path, digits: int) -> str:
    """Return git's name of a file's bytes, without any filter."""
    try:
        content = path.read_bytes()
    except OSError:
        return ""
    kind = "sha1" if digits == 40 else "sha256"
    head = f"blob {len(content)}\0".encode()
    return hashlib.new(kind, head + content, usedforsecurity=False).hexdigest()


def _counts(ignored: str, prefix: str) -> bool:
    """Return True if a file that git ignores would become part of a release."""
    parts = PurePosixPath(ignored.removeprefix(prefix)).parts
    if not ignored.startswith(prefix) or "__pycache__" in parts or ignored.endswith(".pyc"):
        return False
    # Dockerfiles name the parts of their images by digest.
    return parts[0] in _SOURCES and parts[:2] != ("components", "environments")


def _git(where: str, *words: str) -> str:
    done = _run(*words)
    if done.returncode != 0:
        message = done.stderr.strip().partition("\n")[0]
        raise BlocksError(
            where,
            "git",
            f"`git {words[0]}` fails in this folder ({message})",
            "a repository with a commit",
            "Run the command inside the repository, or create one with `git init` and commit",
        )
    return done.stdout


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    # Git's identity and the folders that a build server trusts are in settings that variables name.
    variables = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG")
    }
    command = ["git", *_OPTIONS, *words]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, check=False, env=variables | _PLAIN
        )
    except OSError as error:
        return subprocess.CompletedProcess(words, 127, "", str(error))
