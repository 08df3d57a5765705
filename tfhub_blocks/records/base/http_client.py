"""An HTTP client for public addresses: certificates are checked, and no account is used.

The variables that apply are HTTP_PROXY, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR.
"""

# decision 11

import http.client
import ssl
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import requests

Value = TypeVar("Value")
MAX_REDIRECTS = 10
LONGEST_WAIT_S = 60.0
CHUNK_BYTES = 2**20
_PASSING = {408, 425, 429, 500, 502, 503, 504}
_REDIRECTS = {301, 302, 303, 307, 308}
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class HttpError(Exception):
    """A request that failed, with the reason in one line; the reason contains no query.

    ``status`` and ``headers`` are those of the server's answer, if it answered. ``again`` is True
    if a retry may succeed, after ``wait_s`` at the earliest. ``tries`` counts the requests.
    """

    def __init__(
        self,
        reason: object,
        *,
        again: bool = False,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(" ".join(str(reason).split()) or type(reason).__name__)
        self.again, self.status, self.headers = again, status, headers or {}
        self.wait_s = _requested_wait(self.headers.get("Retry-After", ""))
        self.tries = 1


def is_loopback(host: str) -> bool:
    """Return True if a host, with or without a port, is the local machine."""
    return urllib.parse.urlsplit(f"//{host}").hostname in _LOOPBACK


def is_safe(address: str) -> bool:
    """Return True if third parties cannot read along: https, or http on the local machine."""
    parts = urllib.parse.urlsplit(address)
    is_local = parts.scheme == "http" and is_loopback(parts.netloc)
    return bool(parts.hostname) and (parts.scheme == "https" or is_local)


def retried(ask: Callable[[], Value], tries: int, backoff_s: float) -> Value:
    """Return the answer of a function; it is called again after failures that may pass.

    The first retry follows at once. Further retries wait for twice ``backoff_s``, then four times
    and so on, or for the time that the server requests. No wait exceeds 60 s.

    Raises:
        HttpError: All calls failed, or one failed for good.
    """
    from urllib3 import Retry
    from urllib3.exceptions import MaxRetryError

    left = Retry(tries - 1, backoff_factor=backoff_s, backoff_max=LONGEST_WAIT_S)
    while True:
        try:
            return ask()
        except HttpError as error:
            error.tries = len(left.history) + 1
            if not error.again:
                raise
            try:
                left = left.increment(error=error)
            except MaxRetryError:
                raise error from error.__cause__
            time.sleep(max(left.get_backoff_time(), error.wait_s))


@contextmanager
def opened(
    address: str, headers: Mapping[str, str], timeout_s: float, method: str = "GET"
) -> "Iterator[requests.Response]":
    """Request an address, and keep the successful answer open while the context lasts.

    At most 10 redirects are followed, each only to a safe address. ``Authorization`` is sent to
    the first address only. Cookies, netrc and a user name in the address are never sent.

    Raises:
        HttpError: The address is not safe or cannot be reached, or the server refuses.
    """
    adapter = _adapter()
    try:
        answer = _answer(adapter, address, headers, timeout_s, method)
        try:
            yield answer
        finally:
            answer.close()
    finally:
        adapter.close()


def chunks(answer: "requests.Response", start: int = 0) -> Iterator[bytes]:
    """Yield an answer's bytes as they arrive; afterwards the answer is complete.

    Args:
        answer: The answer.
        start: The number of bytes before the answer, if it is the rest of a file.

    Raises:
        HttpError: The transfer stalls or ends early.
    """
    from urllib3.exceptions import HTTPError

    received = 0
    try:
        while chunk := answer.raw.read1(CHUNK_BYTES, decode_content=False):
            received += len(chunk)
            yield chunk
    except (HTTPError, OSError) as error:
        reason: object = _causes(error)[-1]
        stated = answer.headers.get("Content-Length", "")
        if isinstance(reason, http.client.IncompleteRead) and stated.isdecimal():
            ended = f"{start + received:,} of {start + int(stated):,} bytes"
            reason = f"the transfer ended after {ended}"
        raise HttpError(reason, again=True) from error


def _answer(
    adapter: Any, address: str, headers: Mapping[str, str], timeout_s: float, method: str
) -> "requests.Response":
    import requests
    from urllib3.exceptions import HTTPError

    for _ in range(MAX_REDIRECTS + 1):
        _check(address)
        proxies = requests.utils.get_environ_proxies(address)
        try:
            # Without a session: it would keep cookies, read netrc and follow redirects.
            request = requests.Request(method, address, headers=dict(headers)).prepare()
            answer: requests.Response = adapter.send(
                request,
                stream=True,
                timeout=timeout_s,
                proxies={name: proxies[name] for name in ("http", "https") if name in proxies},
            )
        except (OSError, HTTPError, http.client.HTTPException, ValueError) as error:
            causes = _causes(error)
            # A certificate is as bad at the next try, and so is an address.
            for_good = isinstance(error, ValueError) or any(
                isinstance(cause, ssl.SSLError) for cause in causes
            )
            raise HttpError(causes[-1], again=not for_good) from error
        status, location = answer.status_code, answer.headers.get("Location")
        if 200 <= status < 300:
            return answer
        answer.close()
        if status not in _REDIRECTS or not location:
            raise HttpError(
                f"{status} {answer.reason}",
                again=status in _PASSING,
                status=status,
                headers=answer.headers,
            )
        # HTTP headers are bytes, which http.client decodes so.
        location = location.encode("latin-1").decode("utf-8", "replace")
        address = _joined(str(answer.url), location)
        headers = {name: headers[name] for name in headers if name != "Authorization"}
    raise HttpError(f"the server redirects more than {MAX_REDIRECTS} times")


def _joined(address: str, location: str) -> str:
    try:
        return urllib.parse.urljoin(address, location)
    except ValueError:  # _check refuses it
        return location


def _adapter() -> Any:
    from requests.adapters import HTTPAdapter

    # It trusts whom Python trusts: requests has a list of its own, without private authorities.
    context = ssl.create_default_context()

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **settings: Any) -> None:
            super().init_poolmanager(*args, ssl_context=context, **settings)

        def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
            return super().proxy_manager_for(proxy, ssl_context=context, **settings)

        def cert_verify(self, conn: Any, *_: Any) -> None:
            conn.cert_reqs = "CERT_REQUIRED"

    return Adapter()


def _check(address: str) -> None:
    try:
        parts, is_fine = urllib.parse.urlsplit(address), is_safe(address)
    except ValueError as error:
        raise HttpError("the address is not valid") from error
    if not is_fine:
        raise HttpError(f"{parts.scheme}://{parts.hostname} is not https")
    if parts.username is not None:
        raise HttpError(f"the address of {parts.hostname} contains a user name")


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and the errors inside, from the outermost to the innermost.

    The messages of requests contain the whole address, whose query may be a secret.
    """
    found = [error]
    while True:
        last = found[-1]
        inside = (getattr(last, "reason", None), *last.args, last.__cause__)
        inner = next((it for it in inside if isinstance(it, BaseException)), None)
        if inner is None or inner in found:
            return found
        found.append(inner)


def _requested_wait(header: str) -> float:
    from urllib3 import Retry
    from urllib3.exceptions import InvalidHeader

    try:
        return min(float(Retry().parse_retry_after(header)), LONGEST_WAIT_S) if header else 0.0
    except InvalidHeader:
        return 0.0
