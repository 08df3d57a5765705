"""Output folders that are complete or absent, and are checked when they are read.

Complete means: the lineage is there. It is written last, by a rename, and names every other file
with its SHA-256. On Azure the folder itself is a mount that exists beforehand and cannot be
renamed, which is why its completeness hangs on one file and not on the folder's own name.

Beside that, ``.work`` keeps finished parts of unfinished work, for the next attempt at it.
"""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.digests import file_sha256, files_sha256, folder_files, record_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Lineage, Provenance, read_lineage

PARTIAL_NAME = ".partial"
NAMES_NAME = ".partial.names"
WORK_NAME = ".work"
# In it, where the workers of one step meet; each other name is that of some work.
WORKERS_NAME = "workers"
_REMAINS = frozenset({PARTIAL_NAME, NAMES_NAME, WORK_NAME})


@dataclass(frozen=True)
class Format:
    """A kind of output folder and the version of its layout, such as ``snapshot`` and 1."""

    kind: str
    version: int

    def __str__(self) -> str:
        """As it stands in a lineage."""
        return f"{self.kind}/{self.version}"


@dataclass(frozen=True)
class Folder:
    """A finished output folder: what it says it holds; files are checked when asked for."""

    path: Path
    lineage: Lineage
    _checked: set[str] = field(default_factory=set, compare=False, repr=False)

    @property
    def digest(self) -> str:
        """The digest of the whole content."""
        return self.lineage.digest

    def file(self, name: str) -> Path:
        """The path of one file, whose bytes have been checked against the lineage.

        Raises:
            BlocksError: The lineage does not name the file, it is gone, or its bytes differ.
        """
        expected = self.lineage.files.get(name)
        path = self.path / name
        if expected is None:
            raise self._damage(name, "the lineage does not name this file", "a file it names")
        if name not in self._checked:
            if not path.is_file():
                raise self._damage(name, "this file is gone", f"sha256 {expected}")
            actual = file_sha256(path)
            if actual != expected:
                raise self._damage(name, f"its sha256 is {actual}", f"{expected}, as it was made")
            self._checked.add(name)
        return path

    def check(self) -> "Folder":
        """This folder, with every file checked, and nothing in it that the lineage lacks.

        Raises:
            BlocksError: A file is gone, was added, or has other bytes.
        """
        actual = without_remains(files_sha256(self.path))
        actual.pop(STATEMENT_NAME, None)
        for name in sorted(actual.keys() | self.lineage.files.keys()):
            found, expected = actual.get(name), self.lineage.files.get(name)
            if found != expected:
                raise self._damage(
                    name,
                    f"its sha256 is {found}" if found else "this file is gone",
                    f"{expected}, as it was made" if expected else "no such file",
                )
        self._checked.update(actual)
        return self

    def _damage(self, name: str, problem: str, expected: str) -> BlocksError:
        return BlocksError(
            f"{self.lineage.format} {self.path}",
            name,
            problem,
            expected,
            "this folder was changed or damaged after it was made: make or fetch it again",
        )


def open_folder(path: Path, expected: Format, where: str = "open_folder") -> Folder:
    """A finished output folder of the format that was expected.

    Raises:
        BlocksError: It is unfinished, of another kind, or of a version that this code cannot read.
    """
    lineage = read_lineage(path)
    if lineage.format != str(expected):
        kind, _, version = lineage.format.partition("/")
        newer = kind == expected.kind and version.isdigit() and int(version) > expected.version
        raise BlocksError(
            where,
            str(path),
            f"this is {lineage.format}",
            str(expected),
            "update tfhub-blocks" if newer else f"give a folder that holds a {expected.kind}",
        )
    return Folder(path, lineage)


def begin_folder(folder: Path, provenance: Provenance) -> Path:
    """The empty folder to write an output into; ``finish_folder`` makes it the output.

    What an interrupted attempt left is removed first; so is a finished output of the very same
    step, parameters, materials and code, which a retried job finds in its place. What is kept in
    ``work_folder`` of this very work stays, and that of other work goes.

    Raises:
        BlocksError: The folder holds something else, which is left as it is.
    """
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    ours = _own_entries(folder, provenance) if present else set()
    if present - ours or (folder.exists() and not folder.is_dir()):
        raise BlocksError(
            str(folder),
            "output",
            "something else is there already",
            "a folder that is absent or empty",
            "name another folder or remove this one",
        )
    if present - _REMAINS:
        # Without this list, a removal that is cut short would leave what looks like a stranger's.
        _write_names(folder, present - _REMAINS)
        _remove_entries(folder, present - _REMAINS)
    _remove_entries(folder, {PARTIAL_NAME, NAMES_NAME})
    kept = folder / WORK_NAME
    if kept.is_dir():
        names = {path.name for path in kept.iterdir()}
        _remove_entries(kept, names - {work_key(provenance), WORKERS_NAME})
    partial = folder / PARTIAL_NAME
    partial.mkdir(parents=True)
    return partial


def finish_folder(
    folder: Path, name: str, folder_format: Format, provenance: Provenance
) -> Lineage:
    """Turn what was written after ``begin_folder`` into the output; give its lineage."""
    partial = folder / PARTIAL_NAME
    lineage = Lineage(name, str(folder_format), files_sha256(partial), provenance)
    lineage.write(partial)
    names = (entry.name for entry in partial.iterdir())
    entries = sorted(names, key=lambda name: name == STATEMENT_NAME)
    # Named before anything moves, so that a rerun can tell our remains from a stranger's files.
    _write_names(folder, entries)
    for entry in entries:
        (partial / entry).rename(folder / entry)
    (folder / NAMES_NAME).unlink()
    partial.rmdir()
    # Another worker may look into it once more before it ends; whoever reads the folder does not.
    shutil.rmtree(folder / WORK_NAME, ignore_errors=True)
    return lineage


def work_folder(folder: Path, provenance: Provenance) -> Path:
    """Where finished parts of an output wait until it is complete; made if it is not there.

    It outlives a killed attempt: the next one at the very same step, parameters, materials, code
    and environment finds it as it was. Several processes may use it at once, and at any time before
    ``finish_folder``, which removes it file by file. What is in it counts as finished, so each part
    is one file, written whole (``write_file``) or renamed into place, and needs no other.
    """
    work = folder / WORK_NAME / work_key(provenance)
    work.mkdir(parents=True, exist_ok=True)
    return work


def work_key(provenance: Provenance) -> str:
    """The name of some work: the digest of its step, parameters, materials, code, environment."""
    return record_digest(provenance.work)[:40]


def without_remains(files: Mapping[str, Any]) -> dict[str, Any]:
    """The files of a finished output, without what attempts left beside it; all of other folders.

    Args:
        files: Whatever there is of each file, by its POSIX path relative to the folder.
    """
    if STATEMENT_NAME not in files:
        return dict(files)
    return {name: it for name, it in files.items() if name.partition("/")[0] not in _REMAINS}


def _own_entries(folder: Path, provenance: Provenance) -> set[str]:
    """The names of what an attempt of ours at this very work left in a folder."""
    always = set(_REMAINS)
    if (folder / STATEMENT_NAME).is_file():
        earlier = read_lineage(folder)
        if earlier.provenance.work != provenance.work:
            return always
        tops = {name.partition("/")[0] for name in earlier.files}
        return always | {STATEMENT_NAME} | tops | _hollow_folders(folder)
    names = folder / NAMES_NAME
    if not names.is_file():
        left = (folder / PARTIAL_NAME).is_dir() or (folder / WORK_NAME).is_dir()
        return always if left else set()
    return always | set(names.read_text(encoding="utf-8").split("\n"))


def _hollow_folders(folder: Path) -> set[str]:
    """The folders without any file, which a lineage does not name."""
    below = (path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    return {path.name for path in below if not any(folder_files(path))}


def _write_names(folder: Path, names: Iterable[str]) -> None:
    partial = folder / PARTIAL_NAME
    partial.mkdir(exist_ok=True)
    (partial / NAMES_NAME).write_text("\n".join(names), encoding="utf-8")
    (partial / NAMES_NAME).rename(folder / NAMES_NAME)


def _remove_entries(folder: Path, names: Iterable[str]) -> None:
    # The lineage first: without its files, a folder must not look finished.
    for name in sorted(names, key=lambda name: name != STATEMENT_NAME):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file or none: beside it first, then renamed into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file, and wait while another process does."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
