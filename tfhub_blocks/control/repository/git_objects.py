"""Objects of a git repository, read without its settings and compared with their names."""

# decision 60

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tfhub_blocks.records.base.errors import BlocksError

FILE, PROGRAM, LINK, FOLDER, SUBMODULE = "100644", "100755", "120000", "40000", "160000"
_ALGORITHMS = {40: "sha1", 64: "sha256"}
_NAME = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REFERENCE = re.compile(r"refs/(?!.*\.\.)[^\x00-\x20\x7f~^:?*\[\\]+")
_REFTABLE = "refs/heads/.invalid"
_CHUNK = 2**20


@dataclass(frozen=True)
class RepositoryFolder:
    """A repository around a folder: its top folder, the folder of HEAD, and the common folder."""

    top: Path
    head: Path
    common: Path


@dataclass(frozen=True)
class TreeEntry:
    """An entry of a tree: its path from the tree's root, its mode and the name of its object."""

    path: str
    mode: str
    name: str


def find_repository(start: Path) -> RepositoryFolder | None:
    """Return the repository around a folder, without asking git, or None."""
    for folder in (start.resolve(), *start.resolve().parents):
        dot = folder / ".git"
        head = dot
        if dot.is_file():  # a linked working tree
            text = dot.read_text(encoding="utf-8", errors="surrogateescape")
            head = folder / text.removeprefix("gitdir:").strip()
        if (head / "HEAD").is_file() or (head / "HEAD").is_symlink():
            other = head / "commondir"
            common = head / other.read_text(encoding="utf-8").strip() if other.is_file() else head
            return RepositoryFolder(folder, head.resolve(), common.resolve())
    return None


def find_git(without: Path) -> str:
    """Return the program git of the search path, or an empty text.

    Relative entries of the search path, and those inside a folder, are left out.
    """
    entries = [Path(it) for it in os.environ.get("PATH", os.defpath).split(os.pathsep) if it]
    outside = [
        str(it) for it in entries if it.is_absolute() and not it.resolve().is_relative_to(without)
    ]
    found = shutil.which("git", path=os.pathsep.join(outside))
    return found if found and not Path(found).resolve().is_relative_to(without) else ""


class GitObjects:
    """The objects of a repository, each compared with its name when it is read.

    Git runs with an empty repository of its own that borrows the objects: it sees no settings of
    the system, the user, the repository or the environment, no hooks, no attributes, no replaced
    or grafted commits. Use it as a context manager::

        with GitObjects("submit", repository) as objects:
            text = objects.read(objects.find(objects.head(), "pipelines/prices.toml").name)
    """

    def __init__(self, where: str, repository: RepositoryFolder) -> None:
        self.where, self.repository = where, repository

    def __enter__(self) -> "GitObjects":
        git = find_git(self.repository.top)
        if not git:
            raise self._refuse("the program git is not installed", "Install git")
        self._git = git
        self._scratch = tempfile.TemporaryDirectory(prefix="tfhub-blocks-git-")
        self.folder = Path(self._scratch.name)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._write_own_repository()
        except BaseException:
            self._scratch.cleanup()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process.wait()
        self._scratch.cleanup()

    def _write_own_repository(self) -> None:
        for name in ("objects", "refs", "info"):
            (self.folder / name).mkdir()
        self._head = self._read_head()
        version, extension = 0, ""
        if len(self._head) == 64:
            version, extension = 1, "[extensions]\n\tobjectformat = sha256\n"
        config = f"[core]\n\trepositoryformatversion = {version}\n\tbare = true\n{extension}"
        (self.folder / "config").write_text(config, encoding="utf-8")
        (self.folder / "HEAD").write_text(f"{self._head}\n", encoding="utf-8")
        shallow = _line(self.repository.common / "shallow", whole=True)
        names = (it for it in shallow.split() if _NAME.fullmatch(it))
        self.boundary = frozenset(it for it in names if self._is_boundary(it))
        if self.boundary:
            text = "".join(f"{it}\n" for it in sorted(self.boundary))
            (self.folder / "shallow").write_text(text, encoding="utf-8")

    def _is_boundary(self, commit: str) -> bool:
        """Return True if the history ends at a commit because a parent is not in the clone."""
        return self._has(commit) and not all(map(self._has, self.parents(commit)))

    def head(self) -> str:
        """Return the name of the commit that is checked out."""
        return self._head

    def _read_head(self) -> str:
        text = _line(self.repository.head / "HEAD")
        for _ in range(5):
            if _NAME.fullmatch(text):
                return text
            reference = text.removeprefix("ref:").strip()
            if reference == _REFTABLE:
                return self._asked_head()
            if not _REFERENCE.fullmatch(reference):
                break
            text = _line(self.repository.common / reference) or self._packed(reference)
        raise self._refuse(
            "the repository has no commit", "Commit the project", "a repository with a commit"
        )

    def _packed(self, reference: str) -> str:
        for line in _line(self.repository.common / "packed-refs", whole=True).splitlines():
            name, _, found = line.partition(" ")
            if found == reference:
                return name
        return ""

    def _asked_head(self) -> str:
        """Ask git, where the commit of a branch is in a table: a look-up that starts nothing."""
        variables = self.variables() | {"GIT_DIR": str(self.repository.head)}
        command = [self._git, "rev-parse", "--verify", "HEAD^{commit}"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=variables, cwd=self.folder
        )
        name = done.stdout.strip()
        if _NAME.fullmatch(name):
            return name
        raise self._refuse(
            "the repository has no commit", "Commit the project", "a repository with a commit"
        )

    def resolve(self, word: str) -> str:
        """Return the name of the commit that a branch, a tag, a remote branch or a name stands for.

        The look-up reads references and starts nothing; the commit is compared with its name when
        it is read.

        Raises:
            BlocksError: No commit is called so, or the clone lacks the commit.
        """
        variables = self.variables() | {"GIT_DIR": str(self.repository.head)}
        command = [self._git, "rev-parse", "--verify", "--quiet", "--end-of-options"]
        done = subprocess.run(
            [*command, f"{word}^{{commit}}"],
            capture_output=True,
            text=True,
            check=False,
            env=variables,
            cwd=self.folder,
        )
        name = done.stdout.strip()
        if "\0" not in word and _NAME.fullmatch(name) and self._has(name):
            return name
        raise self._refuse(
            f"no commit is called {word!r} in this clone",
            f"Run `git fetch origin {word}`, or pass a commit that `git log` lists",
            "a branch, a tag or the name of a commit",
        )

    def merge_base(self, one: str, other: str) -> str:
        """Return the newest common ancestor of two commits, or an empty text without one."""
        done = self.git("merge-base", one, other)
        name = done.stdout.strip()
        return name if _NAME.fullmatch(name) else ""

    def variables(self) -> dict[str, str]:
        """Return the environment of git: nothing of the user's but the place of programs."""
        return {
            "PATH": os.pathsep.join((str(Path(self._git).parent), os.defpath)),
            "HOME": str(self.folder),
            "LC_ALL": "C",
            "GIT_DIR": str(self.folder),
            "GIT_OBJECT_DIRECTORY": str(self.repository.common / "objects"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_GRAFT_FILE": os.devnull,
            "GIT_NO_LAZY_FETCH": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_PAGER": "cat",
        }

    def git(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run git with its own empty settings; ``more`` are further variables."""
        options = (
            "--literal-pathspecs",
            "-c",
            "core.fsmonitor=false",
            "-c",
            "core.commitGraph=false",
        )
        return subprocess.run(
            [self._git, *options, *words],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            env=self.variables() | more,
            cwd=more.get("GIT_WORK_TREE", self.folder),
        )

    def read(self, name: str, kind: str = "blob") -> bytes:
        """Return the content of an object of a kind.

        Raises:
            BlocksError: The object is missing, of another kind, or its content has another name.
        """
        size = self._open(name, kind)
        content = b"".join(self._chunks(size))
        self._close(name, kind, size, content)
        return content

    def copy(self, name: str, target: BinaryIO) -> None:
        """Write the content of a blob to a file, compared with its name."""
        size = self._open(name, "blob")
        digest = _digest(name, "blob", size)
        for chunk in self._chunks(size):
            digest.update(chunk)
            target.write(chunk)
        self._end(name, digest.hexdigest())

    def _open(self, name: str, kind: str) -> int:
        if self._process is None:
            self._process = subprocess.Popen(
                [self._git, "-c", "core.commitGraph=false", "cat-file", "--batch"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=self.variables(),
                cwd=self.folder,
            )
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018  # for the type checker
        try:
            stdin.write(f"{name}\n".encode())
            stdin.flush()
        except OSError as error:
            raise self._damaged(name, "git does not read the repository") from error
        found, *words = stdout.readline().decode("utf-8", "replace").split()
        if found != name or len(words) != 2:
            raise self._damaged(name, "the repository lacks it")
        if words[0] != kind:
            for _ in self._chunks(int(words[1]) + 1):  # the next answer begins after this one
                pass
            raise self._damaged(name, f"the object is a {words[0]}, and not a {kind}")
        return int(words[1])

    def _chunks(self, size: int) -> Iterator[bytes]:
        stdout = self._process.stdout if self._process else None
        while size and stdout is not None and (chunk := stdout.read(min(size, _CHUNK))):
            size -= len(chunk)
            yield chunk

    def _close(self, name: str, kind: str, size: int, content: bytes) -> None:
        digest = _digest(name, kind, size)
        digest.update(content)
        self._end(name, digest.hexdigest())

    def _end(self, name: str, found: str) -> None:
        stdout = self._process.stdout if self._process else None
        if stdout is None or stdout.read(1) != b"\n" or found != name:
            raise self._damaged(name, f"its content has the digest {found}")

    def _has(self, name: str) -> bool:
        return self.git("cat-file", "-e", name).returncode == 0

    def tree(self, commit: str) -> str:
        """Return the name of a commit's tree."""
        return self._headers(commit, "tree")[0]

    def parents(self, commit: str) -> list[str]:
        """Return the names of a commit's parents, as the commit itself states them."""
        return self._headers(commit, "parent")

    def date(self, commit: str) -> int:
        """Return the time of a commit, in seconds since 1970."""
        return int(self._headers(commit, "committer")[0].rsplit(" ", 2)[1])

    def _headers(self, commit: str, key: str) -> list[str]:
        head = self.read(commit, "commit").partition(b"\n\n")[0].decode("utf-8", "replace")
        lines = (line.partition(" ") for line in head.split("\n"))
        return [value for name, _, value in lines if name == key]

    def entries(self, tree: str, folder: str = "") -> Iterator[TreeEntry]:
        """Yield each entry of a tree that is no folder, in the order of git.

        Raises:
            BlocksError: An object is damaged, or an entry has a name that no file may have.
        """
        names = set[str]()
        for entry in self._listed(tree):
            path = f"{folder}{entry.path}"
            if "/" in entry.path or entry.path.lower() in ("", ".", "..", ".git"):
                raise self._damaged(tree, f"the entry {path!r} can lead outside of the folder")
            if entry.path in names:
                raise self._damaged(tree, f"the entry {path!r} occurs twice")
            names.add(entry.path)
            if entry.mode == FOLDER:
                yield from self.entries(entry.name, f"{path}/")
            else:
                yield TreeEntry(path, entry.mode, entry.name)

    def find(self, commit: str, path: str) -> TreeEntry | None:
        """Return the entry of a file in a commit, or None. Links are not followed."""
        name, mode = self.tree(commit), FOLDER
        for part in path.split("/"):
            listed = self._listed(name) if mode == FOLDER else []
            entry = next((it for it in listed if it.path == part), None)
            if entry is None:
                return None
            name, mode = entry.name, entry.mode
        return TreeEntry(path, mode, name)

    def _listed(self, tree: str) -> list[TreeEntry]:
        content, found, start = self.read(tree, "tree"), [], 0
        size = len(tree) // 2
        while start < len(content):
            end = content.find(b"\0", start)
            mode, _, path = content[start:end].partition(b" ")
            start = end + 1 + size
            if end < 0 or start > len(content):
                raise self._damaged(tree, "the tree is cut short")
            text = os.fsdecode(path)
            found.append(
                TreeEntry(text, mode.decode("ascii", "replace"), content[end + 1 : start].hex())
            )
        return found

    def _damaged(self, name: str, problem: str) -> BlocksError:
        return self._refuse(
            f"object {name} of the repository cannot be used: {problem}",
            "Run `git fsck --full`, and fetch the repository again from its origin",
            "a complete and undamaged repository",
        )

    def _refuse(self, problem: str, remedy: str, expected: str = "") -> BlocksError:
        return BlocksError(self.where, "git", problem, expected, remedy)


def object_name(content: bytes, digits: int) -> str:
    """Return the name that git gives to a file's bytes, without any filter."""
    digest = _digest("0" * digits, "blob", len(content))
    digest.update(content)
    return digest.hexdigest()


def _digest(name: str, kind: str, size: int) -> "hashlib._Hash":
    head = f"{kind} {size}\0".encode()
    return hashlib.new(_ALGORITHMS[len(name)], head, usedforsecurity=False)


def _line(path: Path, whole: bool = False) -> str:
    try:
        text = path.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    return text if whole else text.strip()
