"""Output folders that are complete or absent, and that are checked when they are read.

A folder is complete if it contains the lineage, ``lineage.json``. The lineage is written last, by
a rename, and states the SHA-256 of every other file. On Azure the folder is a mount that exists
beforehand and cannot be renamed; therefore one file marks completeness, not the folder's name.

A finished folder contains the files that its lineage lists, and nothing else. An unfinished folder
contains nothing but ``.partial`` (the attempt and its scratch), ``.lineage.json`` (the list of the
files that are being moved), the files of that list, and ``.work`` (finished parts for the next
attempt). Everything else is a third party's, and is neither read nor removed. On a mount of remote
storage, ``.partial`` lies on the node's disk instead, and each file is written to the mount once.
"""

# decisions 1, 17, 57 and 94

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tfhub_blocks.records.base.digests import (
    copy_file,
    file_sha256,
    files_sha256,
    folder_files,
    paths_sha256,
    record_digest,
    source_files,
    sources_sha256,
)
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Lineage, Provenance, read_lineage
from tfhub_blocks.records.base.node_disk import scratch_folder

PARTIAL_NAME = ".partial"
# The lineage before it is valid: it lists the files that are being moved into or out of the folder.
PENDING_NAME = f".{STATEMENT_NAME}"
WORK_NAME = ".work"
# The subfolder of .partial that becomes the output. What a step writes next to this subfolder, such
# as a library's temporary folder, is still below .partial.
_CONTENT_NAME = "content"
# The subfolder of .work in which the workers of a step meet; all others are named by a work key.
WORKERS_NAME = "workers"
_REMAINS = frozenset({PARTIAL_NAME, PENDING_NAME, WORK_NAME})


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

    def check_names(self) -> "Folder":
        """Check that the folder contains exactly the files of the lineage; return the folder.

        No file is read.

        Raises:
            BlocksError: A file is missing, or the folder contains anything else, such as a cache, a
                link, an empty folder, or the remains of an unfinished attempt.
        """
        self._compared(self._listed())
        return self

    def check(self) -> "Folder":
        """Check every file, and that the folder contains nothing else; return the folder.

        Raises:
            BlocksError: A file is missing or has other bytes, or the folder contains anything else.
        """
        listed = self._listed()
        self._compared(listed)
        actual = paths_sha256(listed)
        for name, expected in sorted(self.lineage.files.items()):
            if actual[name] != expected:
                raise self._edited(name, actual[name])
        self._checked.update(actual)
        return self

    def stage(self, target: Path) -> None:
        """Copy the files of the lineage, and the lineage, into a new folder.

        Each file is checked while it is copied, so the copy contains exactly the bytes that the
        lineage states, whatever happens to this folder meanwhile.

        Raises:
            BlocksError: A file is missing or has other bytes, or the folder contains anything else.
        """
        self._compared(self._listed())
        for name, expected in self.lineage.files.items():
            actual, _ = copy_file(self.path / name, target / name)
            if actual != expected:
                raise self._edited(name, actual)
        copy_file(self.path / STATEMENT_NAME, target / STATEMENT_NAME)
        copied = read_lineage(target)
        if copied != self.lineage:
            problem = f"{STATEMENT_NAME} was changed while the folder was read"
            raise self._damage(STATEMENT_NAME, problem, "")

    def _listed(self) -> dict[str, Path]:
        listed = folder_files(self.path)
        listed.pop(STATEMENT_NAME, None)
        return listed

    def _compared(self, listed: Mapping[str, Path]) -> None:
        for name in sorted(listed.keys() ^ self.lineage.files.keys()):
            if name in listed:
                raise BlocksError(
                    f"{self.lineage.format} {self.path}",
                    name,
                    f"the lineage does not list {name}, which someone added after the step ended",
                    "only the files that the lineage lists",
                    f"Delete {self.path / name}",
                )
            expected = f"sha256 {self.lineage.files[name]}, as its step wrote it"
            raise self._damage(name, f"file {name} is missing", expected)

    def _edited(self, name: str, actual: str) -> BlocksError:
        expected = f"{self.lineage.files[name]}, as its step wrote it"
        return self._damage(name, f"file {name} has sha256 {actual}", expected)

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
            cannot read; or a file is missing, or the folder contains anything that its lineage does
            not list.
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
    return Folder(path, lineage).check_names()


def content_sha256(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a folder, the lineage included; every byte is read.

    Raises:
        BlocksError: A finished folder contains a link, an empty folder or a special file; another
            folder contains a link to a folder or a special file.
    """
    is_finished = (folder / STATEMENT_NAME).is_file()
    return files_sha256(folder) if is_finished else sources_sha256(folder)


def stage_content(source: Path, target: Path) -> dict[str, str]:
    """Copy a file or a folder to a new path; return the SHA-256 of each copied file by its path.

    A finished folder is copied from the list of its lineage, and each file is checked while it is
    copied. Any other folder is copied from the list of its files and their digests.

    Raises:
        BlocksError: A file is missing, changed meanwhile, or has other bytes than the lineage
            states; or a finished folder contains anything that its lineage does not list.
    """
    if source.is_file():
        digests = {source.name: file_sha256(source)}
        _copy_checked(source, target, digests[source.name])
        return digests
    target.mkdir(parents=True, exist_ok=True)
    if (source / STATEMENT_NAME).is_file():
        folder = Folder(source, read_lineage(source))
        folder.stage(target)
        return {**folder.lineage.files, STATEMENT_NAME: file_sha256(target / STATEMENT_NAME)}
    files = source_files(source)
    digests = paths_sha256(files)
    for name, digest in digests.items():
        _copy_checked(files[name], target / name, digest)
    return digests


def _copy_checked(source: Path, target: Path, expected: str) -> None:
    actual, _ = copy_file(source, target)
    if actual != expected:
        raise BlocksError(
            str(source),
            "content",
            f"{source} was changed while it was copied",
            f"sha256 {expected}",
            "Find out which program writes to this file, stop it, and run the command again",
        )


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
        named = ", ".join(sorted(present - ours)[:3])
        raise BlocksError(
            str(folder),
            "output",
            f"{folder} contains other files already" + (f", such as {named}" if named else ""),
            "a folder that is absent or empty",
            "Choose another folder for the output, or delete this one",
        )
    if STATEMENT_NAME in present:
        # The folder no longer looks finished, but still lists its files.
        (folder / STATEMENT_NAME).replace(folder / PENDING_NAME)
    _remove_entries(folder, present - _REMAINS - {STATEMENT_NAME})
    # The list last: without it, the rest of an interrupted removal would look like other files.
    _remove_entries(folder, {PARTIAL_NAME})
    _remove_entries(folder, {PENDING_NAME})
    kept = folder / WORK_NAME
    if kept.is_dir():
        names = {path.name for path in kept.iterdir()}
        _remove_entries(kept, names - {work_key(provenance), WORKERS_NAME})
    content = _content(folder)
    shutil.rmtree(content.parent, ignore_errors=True)
    content.mkdir(parents=True)
    return content


def finish_folder(
    folder: Path, name: str, folder_format: Format, provenance: Provenance
) -> Lineage:
    """Turn the files written after ``begin_folder`` into the output, and return its lineage.

    Empty folders are left out, because storage knows no folders without files.

    Raises:
        BlocksError: The step wrote a link or a special file.
    """
    content = _content(folder)
    _remove_empty_folders(content)
    lineage = Lineage(name, str(folder_format), files_sha256(content), provenance)
    lineage.write(content.parent)
    # Before any file moves, so that a rerun can distinguish these files from others.
    if scratch_folder(folder) == folder:
        (content.parent / STATEMENT_NAME).replace(folder / PENDING_NAME)
        for entry in sorted(path.name for path in content.iterdir()):
            (content / entry).rename(folder / entry)
        _remove_entries(folder, {PARTIAL_NAME})
    else:
        folder.mkdir(parents=True, exist_ok=True)
        copy_file(content.parent / STATEMENT_NAME, folder / PENDING_NAME)
        for file, digest in lineage.files.items():
            _copy_checked(content / file, folder / file, digest)
        for place in (folder, folder / WORK_NAME / work_key(provenance)):
            shutil.rmtree(scratch_folder(place), ignore_errors=True)
    # The first removal may meet another worker, which still looks for parts before it ends.
    shutil.rmtree(folder / WORK_NAME, ignore_errors=True)
    _remove_entries(folder, {WORK_NAME})
    (folder / PENDING_NAME).replace(folder / STATEMENT_NAME)
    return lineage


def _content(folder: Path) -> Path:
    return scratch_folder(folder) / PARTIAL_NAME / _CONTENT_NAME


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


def _own_entries(folder: Path, provenance: Provenance) -> set[str]:
    """Return the names of the entries that an earlier attempt at this work left in a folder."""
    always = set(_REMAINS)
    if (folder / STATEMENT_NAME).is_file():
        earlier = read_lineage(folder)
        if earlier.provenance.work != provenance.work:
            return always
        return always | {STATEMENT_NAME} | _tops(earlier)
    if not (folder / PENDING_NAME).is_file():
        left = (folder / PARTIAL_NAME).is_dir() or (folder / WORK_NAME).is_dir()
        return always if left else set()
    try:
        return always | _tops(read_lineage(folder, PENDING_NAME))
    except BlocksError:  # no step wrote this list, so the step owns none of the files
        return always


def _tops(lineage: Lineage) -> set[str]:
    return {name.partition("/")[0] for name in lineage.files}


def _remove_empty_folders(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        if Path(parent) != folder and not any(Path(parent).iterdir()):
            Path(parent).rmdir()


def _remove_entries(folder: Path, names: Iterable[str]) -> None:
    for name in sorted(names):
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
