"""Digests of files, folders and records. Everything that is pinned is pinned by one of these."""

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
    """The SHA-256 of a file's bytes, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Each file below a folder as (POSIX path relative to it, path), sorted by the former.

    Links to files count as the files that they name; links to folders are not followed, and
    ``__pycache__`` is passed over.

    Raises:
        BlocksError: Something below is neither a file nor a folder, or has a name that a digest,
            a manifest or another system could not carry.
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
                    "this is a link to a folder, a broken link or a device",
                    "plain files and folders only",
                    "remove it or put a plain file in its place",
                )
            if not is_safe_relative_path(relative):
                raise BlocksError(
                    str(folder),
                    repr(relative),
                    "this name holds a line break, a backslash or bytes that are not UTF-8",
                    "a name that a manifest can carry",
                    "rename it",
                )
            found.append((relative, path))
    return iter(sorted(found))


def _refuse(error: OSError) -> None:
    # os.walk would pass over what it cannot read, and the digest would be of the rest.
    raise error


def files_sha256(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file below a folder, by POSIX path relative to it, sorted."""
    files = list(folder_files(folder))
    # hashlib lets go of the interpreter lock, so two cores hash twice as fast.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        digests = pool.map(file_sha256, (path for _, path in files))
        return dict(zip((name for name, _ in files), digests, strict=True))


def tree_digest(files: Mapping[str, str]) -> str:
    """One digest over a folder, from the SHA-256 of each file by its POSIX path.

    It is the ``dirHash`` of in-toto's DigestSet (Go's ``dirhash.Hash1`` in hexadecimal), so a
    shell can check it: ``sha256sum $(find . -type f | cut -c3- | LC_ALL=C sort) | sha256sum``.
    """
    lines = (f"{files[name]}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def record_digest(record: Any) -> str:
    """The SHA-256 of a JSON-ready record; key order and white space do not change it."""
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def is_safe_relative_path(name: str) -> bool:
    """Whether a path from a manifest or an archive stays inside the folder that it belongs to."""
    path = PurePosixPath(name)
    plain = str(path) == name != "." and not path.is_absolute() and ".." not in path.parts
    return plain and not any(odd in name for odd in "\\\r\n\0") and _is_utf_8(name)


def _is_utf_8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # bytes of a file's name that Python smuggles through
        return False
    return True
