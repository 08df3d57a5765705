"""Output folders that are complete or absent, and that are checked when they are read.

A folder is complete if it contains the lineage, ``lineage.json``. The lineage is written last, by
a rename, and states the SHA-256 of every other file. On Azure the folder is a mount that exists
beforehand and cannot be renamed; therefore one file marks completeness, not the folder's name.

The subfolder ``.work`` keeps finished parts of unfinished work for the next attempt.
"""

# decisions 1 and 17

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.digests import file_sha256, files_sha256, folder_files, record_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Lineage, Provenance, read_lineage

PARTIAL_NAME = ".partial"
NAMES_NAME = ".partial.names"
WORK_NAME = ".work"
# The subfolder of .work in which the workers of a step meet; all others are named by a work key.
WORKERS_NAME = "workers"
_REMAINS = frozenset({PARTIAL_NAME, NAMES_NAME, WORK_NAME})


@dataclass(frozen=True)
class Format:
    """A kind of output folder and the version of its layout, such as ``snapshot`` and 1."""

    kind: str
    version: int

    def __str__(self) -> str:
        """Return the text that a lineage contains, such as ``snapshot/1``."""
        return f"{self.kind}/{self.version}"


@dataclass(frozen=True)
class Folder:
    """A finished output folder with its lineage. Each file is checked when it is first used.

    Example::

        folder = open_folder(path, Format("snapshot", 2), "my_step")
        text = folder.file("manifest.json").read_text()
    """

    path: Path
    lineage: Lineage
    _checked: set[str] = field(default_factory=set, compare=False, repr=False)

    @property
    def digest(self) -> str:
        """The digest of all files of the folder."""
        return self.lineage.digest

    def file(self, name: str) -> Path:
        """Return the path of one file, after a check of its bytes against the lineage.

        Raises:
            BlocksError: The lineage does not list the file, the file is missing, or its bytes
                differ.
        """
        expected = self.lineage.files.get(name)
        path = self.path / name
        if expected is None:
            raise self._damage(name, f"the lineage does not list {name}", "a file in the lineage")
        if name not in self._checked:
            if not path.is_file():
                raise self._damage(name, f"file {name} is missing", f"sha256 {expected}")
            actual = file_sha256(path)
            if actual != expected:
                problem = f"file {name} has sha256 {actual}"
                raise self._damage(name, problem, f"{expected}, as its step wrote it")
            self._checked.add(name)
        return path

    def check(self) -> "Folder":
        """Check every file, and that the folder contains no other files; return the folder.

        Raises:
            BlocksError: A file is missing, was added, or has other bytes.
        """
        actual = without_remains(files_sha256(self.path))
        actual.pop(STATEMENT_NAME, None)
        for name in sorted(actual.keys() | self.lineage.files.keys()):
            found, expected = actual.get(name), self.lineage.files.get(name)
            if found != expected:
                raise self._damage(
                    name,
                    f"file {name} has sha256 {found}" if found else f"file {name} is missing",
                    f"{expected}, as its step wrote it" if expected else "no such file",
                )
        self._checked.update(actual)
        return self

    def _damage(self, name: str, problem: str, expected: str) -> BlocksError:
        return BlocksError(
            f"{self.lineage.format} {self.path}",
            name,
            problem,
            expected,
            "The folder was changed or damaged after its step wrote it: run the step again, or "
            "restore the folder from a copy",
        )


def open_folder(path: Path, expected: Format, where: str = "open_folder") -> Folder:
    """Open a finished output folder of the expected format.

    Raises:
        BlocksError: The folder is unfinished, of another kind, or of a version that this code
            cannot read.
    """
    lineage = read_lineage(path)
    if lineage.format != str(expected):
        kind, _, version = lineage.format.partition("/")
        newer = kind == expected.kind and version.isdigit() and int(version) > expected.version
        raise BlocksError(
            where,
            str(path),
            f"the folder has format {lineage.format}",
            f"format {expected}",
            "Update tfhub-blocks, which is older than this folder"
            if newer
            else f"Pass an output folder of format {expected}",
        )
    return Folder(path, lineage)


def begin_folder(folder: Path, provenance: Provenance) -> Path:
    """Create and return an empty folder for an output; ``finish_folder`` completes the output.

    Files of an interrupted attempt are removed first. A finished output of exactly the same step,
    parameters, materials and code, which a retried job finds, is removed too. Parts in
    ``work_folder`` of the same work stay; parts of other work are removed.

    Raises:
        BlocksError: The folder contains something else, which stays as it is.
    """
    present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    ours = _own_entries(folder, provenance) if present else set()
    if present - ours or (folder.exists() and not folder.is_dir()):
        raise BlocksError(
            str(folder),
            "output",
            f"{folder} contains other files already",
            "a folder that is absent or empty",
            "Choose another folder for the output, or delete this one",
        )
    if present - _REMAINS:
        # Without this list, the rest of an interrupted removal would look like other files.
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
    """Turn the files written after ``begin_folder`` into the output, and return its lineage."""
    partial = folder / PARTIAL_NAME
    lineage = Lineage(name, str(folder_format), files_sha256(partial), provenance)
    lineage.write(partial)
    names = (entry.name for entry in partial.iterdir())
    entries = sorted(names, key=lambda name: name == STATEMENT_NAME)
    # Written before any file moves, so that a rerun can distinguish these files from others.
    _write_names(folder, entries)
    for entry in entries:
        (partial / entry).rename(folder / entry)
    (folder / NAMES_NAME).unlink()
    partial.rmdir()
    # Errors are ignored, because another worker may still read the folder before it ends.
    shutil.rmtree(folder / WORK_NAME, ignore_errors=True)
    return lineage


def work_folder(folder: Path, provenance: Provenance) -> Path:
    """Create and return the folder for finished parts of an unfinished output.

    The folder survives a killed attempt. The next attempt with exactly the same step, parameters,
    materials, code and environment finds it unchanged. Several processes may use it at once, at any
    time before ``finish_folder``, which removes it file by file. Every file in the folder counts as
    finished. Therefore each part is one file, written completely (``write_file``) or renamed into
    place, and does not depend on other files.
    """
    work = folder / WORK_NAME / work_key(provenance)
    work.mkdir(parents=True, exist_ok=True)
    return work


def work_key(provenance: Provenance) -> str:
    """Return the digest of a work's step, parameters, materials, code and environment."""
    return record_digest(provenance.work)[:40]


def without_remains(files: Mapping[str, Any]) -> dict[str, Any]:
    """Return the files of a finished output without the remains of unfinished attempts.

    Other folders keep all their files.

    Args:
        files: A value for each file, such as its digest, by its relative POSIX path.
    """
    if STATEMENT_NAME not in files:
        return dict(files)
    return {name: it for name, it in files.items() if name.partition("/")[0] not in _REMAINS}


def _own_entries(folder: Path, provenance: Provenance) -> set[str]:
    """Return the names of the entries that an earlier attempt at this work left in a folder."""
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
    """Return the subfolders that contain no file; a lineage does not list them."""
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
    """Write a file completely or not at all: under another name first, then by a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file inside this context. The function waits while another process has the lock."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
