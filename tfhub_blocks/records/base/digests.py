"""Digests of files, folders and records. Every pin in a project is one of these digests."""

# decision 2

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from tfhub_blocks.records.base.errors import BlocksError

IGNORED_FOLDERS = frozenset({"__pycache__"})


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Return each file below a folder as (relative POSIX path, path), sorted by relative path.

    A link to a file counts as that file. ``__pycache__`` is left out.

    Raises:
        BlocksError: An entry is a link to a folder, a broken link or a device, or its name cannot
            be stored in a manifest or on another system.
        OSError: A folder cannot be listed.
    """
    found = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if name not in IGNORED_FOLDERS]
        for name in [*names, *(n for n in folders if (Path(parent) / n).is_symlink())]:
            path = Path(parent) / name
            relative = path.relative_to(folder).as_posix()
            if not path.is_file():
                raise BlocksError(
                    str(folder),
                    repr(relative),
                    f"{relative!r} is a link to a folder, a broken link or a device",
                    "plain files and folders only",
                    f"Remove {relative!r}, or replace the link by a copy of its target",
                )
            if not is_safe_relative_path(relative):
                raise BlocksError(
                    str(folder),
                    repr(relative),
                    f"the name {relative!r} contains a line break, a backslash or bytes that are "
                    "not UTF-8",
                    "",
                    "Rename the file",
                )
            found.append((relative, path))
    return iter(sorted(found))


def _refuse(error: OSError) -> None:
    # os.walk would skip an unreadable folder, and the digest would cover only the other files.
    raise error


def files_sha256(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder, by relative POSIX path, sorted."""
    files = list(folder_files(folder))
    # hashlib releases the interpreter lock, so two cores hash twice as fast.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(file_sha256, (path for _, path in files))
        return dict(zip((name for name, _ in files), digests, strict=True))


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
    return plain and not any(odd in name for odd in "\\\r\n\0") and _is_utf_8(name)


def _is_utf_8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # Python represents undecodable bytes of file names as surrogates
        return False
    return True
