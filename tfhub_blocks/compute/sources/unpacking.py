"""An archive, unpacked as if it were hostile: ``.tar.gz`` or ``.zip``."""

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
    """Unpacks an archive of this machine."""

    takes = "a .tar.gz or .zip archive"

    def matches(self, handle: str) -> bool:
        """Whether there is such a file, and it begins as an archive does."""
        path = Path(handle)
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(4).startswith((_GZIP, _ZIP))

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """The folder, with what the archive holds."""
        unpack(Path(handle), folder, max_bytes, handle)
        return folder


def unpack(archive: Path, folder: Path, max_bytes: int, where: str) -> None:
    """Write the files of an archive below a folder.

    Raises:
        BlocksError: It is no whole archive, or a member leaves the folder, is a link or a device,
            or there are more than ``max_bytes`` or ``MAX_MEMBERS``. What was written is left.
    """
    unpacked_bytes = 0
    try:
        for number, (name, size_bytes, content) in enumerate(_members(archive, where), 1):
            unpacked_bytes += size_bytes
            if unpacked_bytes > max_bytes or number > MAX_MEMBERS:
                raise _refused(
                    where,
                    name,
                    f"with it the archive holds {unpacked_bytes:,} bytes in {number} files",
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
        raise _refused(where, name, "it is in the archive twice", "each file once") from error
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise BlocksError(
            where,
            "archive",
            f"it cannot be unpacked ({type(error).__name__}: {error})",
            "a whole .tar.gz or .zip",
            "get it again",
        ) from error


def _members(archive: Path, where: str) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, size and content of each file; folders are passed over."""
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
        raise _refused(where, name, "it is a link or a device", "plain files and folders")
    if not is_safe_relative_path(plain):
        raise _refused(where, name, "it leaves the folder", "paths below the archive's top")
    return plain, size_bytes, content


class _Unzipped(gzip.GzipFile):
    """A tar without its compression, whose headers are of a size that memory holds."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size)


def _refused(where: str, name: str, problem: str, expected: str) -> BlocksError:
    remedy = "do not use this archive, or unpack it by hand, look, and give the folder"
    return BlocksError(where, name, problem, expected, remedy)
