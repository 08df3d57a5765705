"""Downloads over HTTP: retried with growing waits, resumed after an interruption, and complete."""

# decision 11

import hashlib
import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tfhub_blocks.compute.sources.download_cache import cache_folder, cache_trouble
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import locked
from tfhub_blocks.records.base.http_client import HttpError, chunks, opened, retried

TIMEOUT_S = 60.0
TRIES, BACKOFF_S = 5, 1.0


@contextmanager
def downloaded(address: str, where: str, max_bytes: int) -> Iterator[Path]:
    """Download the file of an address, and keep it while the context lasts.

    The file is complete. An interrupted transfer is resumed, in this process or in a later process
    that needs the file, if the server identifies versions of the file. If several processes need
    the file, only one downloads.

    Raises:
        BlocksError: The address cannot be reached or returns no complete file, the file is larger
            than ``max_bytes``, or the cache cannot be written.
    """
    folder = cache_folder() / "downloads"
    name = hashlib.sha256(address.encode()).hexdigest()
    with cache_trouble(where):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f"{name}.lock"):
            path = folder / name
            _complete(address, path, where, max_bytes)
            try:
                yield path
            finally:
                _forget(path)


def _complete(address: str, path: Path, where: str, max_bytes: int) -> None:
    try:
        retried(lambda: _transfer(address, path, where, max_bytes), TRIES, BACKOFF_S)
    except HttpError as error:
        tries = f" in {error.tries} tries" if error.tries > 1 else ""
        problem = f"the server answered {error}" if error.status else str(error)
        raise BlocksError(
            where,
            "download",
            f"the download failed{tries}: {problem}",
            "a complete file",
            "Check the address, its version and the network, or pass the encoder's folder",
        ) from error


def _transfer(address: str, path: Path, where: str, max_bytes: int) -> None:
    """Download the missing part of a file."""
    tag = path.with_suffix(".tag")  # The server's name for the version of the existing part.
    start = path.stat().st_size if path.is_file() and tag.is_file() else 0
    headers = {"Range": f"bytes={start}-", "If-Range": tag.read_text()} if start else {}
    try:
        with opened(address, headers, TIMEOUT_S) as answer:
            if answer.status_code != http.client.PARTIAL_CONTENT:
                start = 0
            elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                _forget(path)
                raise HttpError("the server returned another part than requested", again=True)
            stated = answer.headers.get("Content-Length", "")
            whole_bytes = start + int(stated) if stated.isdecimal() else 0
            _write_tag(tag, answer.headers)
            with path.open("ab" if start else "wb") as file:
                size_bytes = start
                for chunk in chunks(answer, start):
                    size_bytes += file.write(chunk)
                    if max(size_bytes, whole_bytes) > max_bytes:
                        _forget(path)
                        raise _too_large(where, max(size_bytes, whole_bytes), max_bytes)
    except HttpError as error:
        if error.status == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            _forget(path)  # The existing part belongs to another file.
            problem = "the file on the server is shorter than the part downloaded before"
            raise HttpError(problem, again=True) from error
        raise


def _write_tag(tag: Path, headers: Mapping[str, str]) -> None:
    # A weak ETag states that two files are equivalent, not that their bytes are equal.
    etag = headers.get("ETag", "")
    version = headers.get("Last-Modified", "") if etag[:2] in ("", "W/") else etag
    if version and headers.get("Accept-Ranges", "bytes") == "bytes":
        tag.write_text(version, encoding="utf-8")
    else:
        tag.unlink(missing_ok=True)


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_suffix(".tag").unlink(missing_ok=True)


def _too_large(where: str, size_bytes: int, max_bytes: int) -> BlocksError:
    return BlocksError(
        where,
        "download",
        f"the file has {size_bytes:,} bytes or more",
        f"at most {max_bytes:,}",
        "Check that the address is that of the pinned encoder, or download the file and inspect it",
    )
