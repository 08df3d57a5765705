"""The git repository that a release is made from: at which commit, and whether it is clean."""

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
# Whatever a hook, a shell or the repository's configuration says: no commit that stands in for
# another, no program that tells what changed, and paths that are paths.
_PLAIN = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_GRAFT_FILE": os.devnull}
_OPTIONS = ("--literal-pathspecs", "-c", "core.fsmonitor=false")
_LINK = "120000"


def clean_commit(where: str, written: Iterable[Path] = ()) -> str:
    """The commit of the working folder's repository, of which nothing here differs.

    Files that git was told to overlook (assume-unchanged, skip-worktree) count as differing; what
    ``.gitignore`` names does where steps and pipelines are, for it would be part of them. There
    each file is read and held against the commit, since a filter or an old time can hide an edit
    from git, and links count as differing: what is behind them is not in the commit.

    Args:
        where: The command, for the error.
        written: Files that the command itself writes, and that do not count.

    Raises:
        BlocksError: This is no repository, it has no commit, or something in it is not committed.
    """
    root = Path(_git(where, "rev-parse", "--show-toplevel").strip())
    if not Path.cwd().resolve().is_relative_to(root.resolve()):
        raise BlocksError(
            where,
            "git",
            f"its configuration (core.worktree) leads it to {root}",
            "a repository of this folder",
            "git config --unset core.worktree",
        )
    commit = _git(where, "rev-parse", "--verify", "HEAD").strip()
    own = {path.resolve() for path in written}
    dirty = [name for name in _dirty(where) if (root / name).resolve() not in own]
    if dirty:
        told = ", ".join(dirty[:_NAMED])
        if len(dirty) > _NAMED:
            told += f", and {len(dirty) - _NAMED} more"
        raise BlocksError(
            where,
            "git",
            f"what is here is not what commit {commit[:12]} holds: {told}",
            "a clean tree, so that others can make the same",
            "commit it, or put it away: git stash --include-untracked",
        )
    return commit


def check_descends(where: str, commit: str, what: str) -> None:
    """See that the commit that a lock names is part of what is here.

    Raises:
        BlocksError: It is not.
    """
    done = _run("merge-base", "--is-ancestor", commit, "HEAD")
    if done.returncode != 0:
        raise BlocksError(
            where,
            f"{what} > commit",
            f"{commit[:12]} is not in the history of what is checked out",
            "a lock of this history",
            "check out what it was written for, or write it again",
        )


def latest_day(where: str) -> date:
    """Today, or the day of the newest of the last commits if this machine's clock is behind it.

    Raises:
        BlocksError: This is no repository with a commit.
    """
    seconds = _git(where, "log", f"--max-count={_LAST_COMMITS}", "--format=%ct").split()
    return datetime.fromtimestamp(max(time.time(), *map(int, seconds)), UTC).date()


def check_committed(where: str, path: Path) -> None:
    """See that a file is part of the commit that is checked out.

    Raises:
        BlocksError: It is not.
    """
    if path.is_symlink() or _run("ls-files", "--error-unmatch", str(path)).returncode != 0:
        raise BlocksError(
            where,
            str(path),
            "it is not in the repository",
            "a lock that was reviewed and committed",
            "put it into pipelines/releases/, and let it be reviewed",
        )


def configured_email() -> str:
    """The address that git puts into commits made here; empty if none is configured."""
    return _run("config", "user.email").stdout.strip()


def is_edited(path: Path) -> bool:
    """Whether a file of this folder is not as its commit has it, or not in that.

    Not without a repository. The file itself is read: git may be told to overlook it.
    """
    here = Path.cwd().resolve()
    top = _run("rev-parse", "--show-toplevel")
    if top.returncode != 0 or not path.resolve().is_relative_to(here / "pipelines"):
        return False
    name = path.resolve().relative_to(Path(top.stdout.rstrip("\n")).resolve()).as_posix()
    committed = _run("rev-parse", "--verify", "--quiet", f"HEAD:{name}").stdout.strip()
    return not committed or _object_name(path, len(committed)) != committed


def authors_of(path: Path) -> list[str]:
    """The addresses of all who ever committed a change of a file as its author."""
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
    """What the commit has of steps and pipelines and is here with other bytes, or as a link."""
    for entry in _git(where, "ls-tree", "-r", "-z", "HEAD", *sorted(_SOURCES)).split("\0"):
        facts, _, name = entry.partition("\t")
        mode, kind, digest = facts.split() if facts else ("", "", "")
        if mode == _LINK:
            yield f"{prefix}{name} (a link)"
        elif kind == "blob" and _object_name(Path(name), len(digest)) != digest:
            yield prefix + name


def _object_name(path: Path, digits: int) -> str:
    """What git calls a file's bytes as they are, without any filter."""
    try:
        content = path.read_bytes()
    except OSError:
        return ""
    kind = "sha1" if digits == 40 else "sha256"
    head = f"blob {len(content)}\0".encode()
    return hashlib.new(kind, head + content, usedforsecurity=False).hexdigest()


def _counts(ignored: str, prefix: str) -> bool:
    """Whether a file that git ignores would become part of what is made here."""
    parts = PurePosixPath(ignored.removeprefix(prefix)).parts
    if not ignored.startswith(prefix) or "__pycache__" in parts or ignored.endswith(".pyc"):
        return False
    # What images are built from is named by digest in their Dockerfiles.
    return parts[0] in _SOURCES and parts[:2] != ("components", "environments")


def _git(where: str, *words: str) -> str:
    done = _run(*words)
    if done.returncode != 0:
        told = done.stderr.strip().partition("\n")[0]
        raise BlocksError(
            where,
            "git",
            f"git {words[0]} does not answer here ({told})",
            "a repository with a commit",
            "run it in the repository; git init and commit if there is none",
        )
    return done.stdout


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    # Who somebody is, and what a build server trusts, stands in settings that variables name.
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
