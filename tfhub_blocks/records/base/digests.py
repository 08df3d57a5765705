"""Digests of files, folders and records. Every pin in a project is one of these digests."""

# decisions 2 and 57

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.foreign_text import is_utf_8

# Python writes these folders next to source code. Copies of code leave them out.
CACHE_FOLDERS = frozenset({"__pycache__"})
_CHUNK_BYTES = 1 << 20
# Takes a path and True for a folder, and returns True if it is to be left out.
LeaveOut = Callable[[Path, bool], bool]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_files(folder: Path) -> dict[str, Path]:
    """Return each file below a folder by its POSIX path, sorted. Nothing is left out.

    Raises:
        BlocksError: An entry is a link, an empty folder or a special file, or its name cannot be
            stored in a manifest or on another system.
        OSError: A folder cannot be listed.
    """
    found = {}
    for name, entry in _entries(folder, ""):
        kind = _kind(entry)
        if kind != "file":
            raise _refused(
                folder,
                name,
                f"{name!r} is {kind}",
                "only files, and folders that contain files",
                f"Delete {name!r}"
                + (", or replace the link by a copy of its target" if "link" in kind else ""),
            )
        found[name] = Path(entry.path)
    return dict(sorted(found.items()))


def source_files(
    folder: Path, omit: Collection[str] = (), leave_out: LeaveOut | None = None
) -> dict[str, Path]:
    """Return each file below a folder that no step wrote, by its POSIX path, sorted.

    A link to a file counts as that file, and empty folders are allowed.

    Args:
        folder: A folder from outside, such as data, a downloaded encoder, or code.
        omit: Names of files and folders to leave out.
        leave_out: Called with a path and True for a folder; returns True to leave it out.

    Raises:
        BlocksError: An entry is a link to a folder, a broken link or a device, or its name cannot
            be stored in a manifest or on another system.
        OSError: A folder cannot be listed.
    """
    found = {}
    for name, entry in _entries(folder, "", omit, leave_out):
        if entry.is_dir(follow_symlinks=False):
            continue
        if not entry.is_file():
            raise _refused(
                folder,
                name,
                f"{name!r} is a link to a folder, a broken link or a device",
                "plain files and folders only",
                f"Remove {name!r}, or replace the link by a copy of its target",
            )
        found[name] = Path(entry.path)
    return dict(sorted(found.items()))


def files_sha256(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that ``folder_files`` lists, by its POSIX path, sorted."""
    return paths_sha256(folder_files(folder))


def sources_sha256(folder: Path, omit: Collection[str] = ()) -> dict[str, str]:
    """Return the SHA-256 of each file that ``source_files`` lists, by its POSIX path, sorted."""
    return paths_sha256(source_files(folder, omit))


def paths_sha256(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the SHA-256 of each file by its name, in the same order; every byte is read."""
    # hashlib releases the interpreter lock, so two cores hash twice as fast.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # The largest first, or one thread would read the largest file while the others wait.
        longest = sorted(files.values(), key=lambda path: path.stat().st_size, reverse=True)
        digests = dict(zip(longest, pool.map(file_sha256, longest), strict=True))
    return {name: digests[path] for name, path in files.items()}


def copy_file(source: Path, target: Path) -> tuple[str, int]:
    """Copy a file; return the SHA-256 and the number of exactly the bytes that were written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size_bytes = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += writer.write(chunk)
    return digest.hexdigest(), size_bytes


def _entries(
    folder: Path, prefix: str, omit: Collection[str] = (), leave_out: LeaveOut | None = None
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield every file, link, special file and empty folder below a folder, with its path."""
    with os.scandir(folder) as scan:
        entries = [entry for entry in scan if entry.name not in omit]
    if leave_out is not None:
        entries = [
            entry
            for entry in entries
            if not leave_out(Path(entry.path), entry.is_dir(follow_symlinks=False))
        ]
    for entry in entries:
        name = prefix + entry.name
        if not is_safe_relative_path(name):
            raise _refused(
                folder,
                name,
                f"the name {name!r} contains a line break, a backslash or bytes that are not UTF-8",
                "",
                "Rename the file",
            )
        below = None
        if entry.is_dir(follow_symlinks=False):
            below = _entries(Path(entry.path), f"{name}/", omit, leave_out)
        first = next(below, None) if below else None
        if below is None or first is None:
            yield name, entry
        else:
            yield first
            yield from below


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "a link"
    if entry.is_dir():
        return "an empty folder"
    return "file" if entry.is_file() else "neither a file nor a folder"


def _refused(folder: Path, name: str, problem: str, expected: str, remedy: str) -> BlocksError:
    return BlocksError(str(folder), repr(name), problem, expected, remedy)


def tree_digest(files: Mapping[str, str]) -> str:
    """Return the digest of a folder, from the SHA-256 of each file by its POSIX path.

    The digest is the ``dirHash`` of in-toto's DigestSet (Go's ``dirhash.Hash1`` in hexadecimal).
    A shell computes the same value:
    ``sha256sum $(find . -type f | cut -c3- | LC_ALL=C sort) | sha256sum``.
    """
    lines = (f"{files[name]}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def record_digest(record: Any) -> str:
    """Return the SHA-256 of a JSON-ready record. Key order and white space do not change it."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def is_safe_relative_path(name: str) -> bool:
    """Return True if a path from a manifest or an archive stays inside its folder."""
    path = PurePosixPath(name)
    plain = str(path) == name != "." and not path.is_absolute() and ".." not in path.parts
    return plain and not any(odd in name for odd in "\\\r\n\0") and is_utf_8(name)
