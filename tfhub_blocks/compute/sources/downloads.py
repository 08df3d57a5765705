"""Downloads over HTTP: retried with growing waits, resumed after an interruption, and complete."""

import hashlib
import http.client
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from tfhub_blocks.compute.sources.download_cache import cache_folder, cache_trouble
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import locked

TIMEOUT_S = 60.0
BACKOFF_S = (1.0, 2.0, 4.0, 8.0)
MAX_RETRY_AFTER_S = 60.0
CHUNK_BYTES = 2**20
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class _BrokenError(Exception):
    """A transfer that did not complete; ``again`` is True if a retry may succeed."""

    def __init__(self, problem: str, again: bool = True, wait_s: float = 0.0) -> None:
        super().__init__(problem)
        self.again, self.wait_s = again, wait_s


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
    for number, wait_s in enumerate([*BACKOFF_S, None], 1):
        try:
            _transfer(address, path, where, max_bytes)
            return
        except _BrokenError as error:
            if wait_s is None or not error.again:
                tries = f" in {number} tries" if number > 1 else ""
                raise BlocksError(
                    where,
                    "download",
                    f"the download failed{tries}: {error}",
                    "a complete file",
                    "Check the address, its version and the network, or pass the encoder's folder",
                ) from error
            time.sleep(max(wait_s, error.wait_s))


def _transfer(address: str, path: Path, where: str, max_bytes: int) -> None:
    """Download the missing part of a file."""
    tag = path.with_suffix(".tag")  # The server's name for the version of the existing part.
    start = path.stat().st_size if path.is_file() and tag.is_file() else 0
    headers = {"Range": f"bytes={start}-", "If-Range": tag.read_text()} if start else {}
    with _opened(address, headers, path) as answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            start = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            _forget(path)
            raise _BrokenError("the server returned another part than requested")
        stated = answer.headers.get("Content-Length", "")
        whole_bytes = start + int(stated) if stated.isdigit() else None
        _write_tag(tag, answer.headers)
        with path.open("ab" if start else "wb") as file:
            size_bytes = start
            while chunk := _read(answer):
                size_bytes += file.write(chunk)
                if max(size_bytes, whole_bytes or 0) > max_bytes:
                    _forget(path)
                    raise _too_large(where, max(size_bytes, whole_bytes or 0), max_bytes)
    if whole_bytes is not None and size_bytes != whole_bytes:
        raise _BrokenError(f"the transfer ended after {size_bytes:,} of {whole_bytes:,} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """A handler that follows redirects only to addresses that are safe from third parties."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opened(address: str, headers: dict[str, str], path: Path) -> Any:
    _check_scheme(address)
    request = urllib.request.Request(address, headers=headers)  # noqa: S310  # checked above
    try:
        return urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            _forget(path)  # The existing part belongs to another file.
            problem = "the file on the server is shorter than the part downloaded before"
            raise _BrokenError(problem) from error
        after = error.headers.get("Retry-After", "")
        wait_s = min(float(after), MAX_RETRY_AFTER_S) if after.isdigit() else 0.0
        problem = f"the server answered {error.code} {error.reason}"
        raise _BrokenError(problem, error.code in _AGAIN, wait_s) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise _BrokenError(_one_line(reason), not isinstance(reason, ssl.SSLError)) from error


def _read(answer: Any) -> bytes:
    try:
        chunk: bytes = answer.read1(CHUNK_BYTES)
        return chunk
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(_one_line(error)) from error


def _check_scheme(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and (parts.scheme, parts.hostname in _LOOPBACK) != ("http", True):
        raise _BrokenError(f"{parts.scheme}://{parts.hostname} is not https", again=False)


def _write_tag(tag: Path, headers: Message) -> None:
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


def _one_line(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
