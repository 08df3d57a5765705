"""Downloads over HTTP: retried with growing waits, resumed where they broke off, and whole."""

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
    """A transfer that did not come to its end; ``again`` says whether another may."""

    def __init__(self, problem: str, again: bool = True, wait_s: float = 0.0) -> None:
        super().__init__(problem)
        self.again, self.wait_s = again, wait_s


@contextmanager
def downloaded(address: str, where: str, max_bytes: int) -> Iterator[Path]:
    """The file of an address, whole, for as long as the context lasts.

    A transfer that breaks off goes on from there, in this process or, should it end, in the next
    one that wants the file, if the server tells versions apart; of several processes one downloads.

    Raises:
        BlocksError: The address cannot be reached or does not answer with a whole file; it is
            larger than ``max_bytes``; or the cache cannot be written.
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
                    f"it did not come whole{tries}: {error}",
                    "an answer with the whole file",
                    "check the address, its version and the network, or give the encoder's folder",
                ) from error
            time.sleep(max(wait_s, error.wait_s))


def _transfer(address: str, path: Path, where: str, max_bytes: int) -> None:
    """Take what is still missing of a file."""
    tag = path.with_suffix(".tag")  # What the server calls the version that the part is of.
    start = path.stat().st_size if path.is_file() and tag.is_file() else 0
    headers = {"Range": f"bytes={start}-", "If-Range": tag.read_text()} if start else {}
    with _opened(address, headers, path) as answer:
        if answer.status != http.client.PARTIAL_CONTENT:
            start = 0
        elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            _forget(path)
            raise _BrokenError("it answered with another part than was asked for")
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
        raise _BrokenError(f"it ended after {size_bytes:,} of {whole_bytes:,} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows to where nobody on the way reads or changes anything."""

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
            _forget(path)  # What there is of it is not of this file.
            raise _BrokenError("the server has less than was downloaded before") from error
        after = error.headers.get("Retry-After", "")
        wait_s = min(float(after), MAX_RETRY_AFTER_S) if after.isdigit() else 0.0
        told = f"it answered {error.code} {error.reason}"
        raise _BrokenError(told, error.code in _AGAIN, wait_s) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise _BrokenError(_told(reason), not isinstance(reason, ssl.SSLError)) from error


def _read(answer: Any) -> bytes:
    try:
        chunk: bytes = answer.read1(CHUNK_BYTES)
        return chunk
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(_told(error)) from error


def _check_scheme(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme != "https" and (parts.scheme, parts.hostname in _LOOPBACK) != ("http", True):
        raise _BrokenError(f"{parts.scheme}://{parts.hostname} is not https", again=False)


def _write_tag(tag: Path, headers: Message) -> None:
    # A weak ETag says that two files mean the same, not that they are the same bytes.
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
        f"it has {size_bytes:,} bytes or more",
        f"at most {max_bytes:,}",
        "check that this is the encoder that was pinned, or download it by hand and look",
    )


def _told(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__
