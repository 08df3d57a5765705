"""Unpacking of ``.tar.gz`` and ``.zip`` archives, with protection against hostile archives."""

# decision 11

import gzip
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tfhub_blocks.records.base.digests import is_safe_relative_path
from tfhub_blocks.records.base.errors import BlocksError

MAX_MEMBERS = 100_000
# tarfile reads a header whole into memory, whatever size it states.
MAX_HEADER_BYTES = 2**24
_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"


class ArchiveSource:
    """A source that unpacks a local archive."""

    takes = "a .tar.gz or .zip archive"

    def matches(self, handle: str) -> bool:
        """Return True if the handle is a file with the first bytes of an archive."""
        path = Path(handle)
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4).startswith((_GZIP, _ZIP))

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """Unpack the archive into the folder; return the folder."""
        unpack(Path(handle), folder, max_bytes, handle)
        return folder


def unpack(archive: Path, folder: Path, max_bytes: int, where: str) -> None:
    """Write the files of an archive below a folder.

    Raises:
        BlocksError: The archive is incomplete; a member leaves the folder, or is a link or a
            device; or the archive has more than ``max_bytes`` or ``MAX_MEMBERS``. Files that were
            already written remain.
    """
    unpacked_bytes = 0
    try:
        for number, (name, size_bytes, content) in enumerate(_members(archive, where), 1):
            unpacked_bytes += size_bytes
            if unpacked_bytes > max_bytes or number > MAX_MEMBERS:
                raise _refused(
                    where,
                    name,
                    f"the archive up to here has {unpacked_bytes:,} bytes in {number} files",
                    f"at most {max_bytes:,} bytes in {MAX_MEMBERS:,} files",
                )
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                shutil.copyfileobj(content, file, 2**20)
            if target.stat().st_size != size_bytes:
                raise EOFError(f"{name} ends early")
    except FileExistsError as error:
        name = str(Path(error.filename).relative_to(folder))
        problem = "the file is in the archive twice"
        raise _refused(where, name, problem, "each file once") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise BlocksError(
            where,
            "archive",
            f"the archive cannot be unpacked ({type(error).__name__}: {error})",
            "a complete .tar.gz or .zip",
            "Download the archive again; the copy may be incomplete",
        ) from error


def _members(archive: Path, where: str) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield name, size and content of each file; skip folders."""
    with archive.open("rb") as file:
        is_zip = file.read(4) == _ZIP
    yield from (_zip_members if is_zip else _tar_members)(archive, where)


def _tar_members(archive: Path, where: str) -> Iterator[tuple[str, int, IO[bytes]]]:
    with _Unzipped(archive) as file, tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if not member.isdir():
                content = tar.extractfile(member) if member.isfile() else None
                yield _checked(member.name, member.size, content, where)


def _zip_members(archive: Path, where: str) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as zipped:
        for member in zipped.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if not member.is_dir():
                content = zipped.open(member) if kind in (0, stat.S_IFREG) else None
                yield _checked(member.filename, member.file_size, content, where)


def _checked(
    name: str, size_bytes: int, content: IO[bytes] | None, where: str
) -> tuple[str, int, IO[bytes]]:
    plain = name.removeprefix("./")
    if content is None:
        raise _refused(where, name, "the member is a link or a device", "plain files and folders")
    if not is_safe_relative_path(plain):
        raise _refused(where, name, "the path leaves the folder", "paths below the archive's top")
    return plain, size_bytes, content


class _Unzipped(gzip.GzipFile):
    """A decompressed tar that refuses headers too large for memory."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


def _refused(where: str, name: str, problem: str, expected: str) -> BlocksError:
    remedy = "Do not use this archive, or unpack and inspect it by hand, and pass the folder"
    return BlocksError(where, name, problem, expected, remedy)
