"""The HTTP client, against a server on loopback that records the headers it receives."""

import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from tfhub_blocks.records.base import http_client
from tfhub_blocks.records.base.http_client import (
    HttpError,
    chunks,
    is_loopback,
    is_safe,
    opened,
    retried,
)


class Pages:
    """A server: its answers by path as (status, headers, body), and the requests it received."""

    def __init__(self):
        self.answers, self.asked, self.address = {}, [], ""

    @property
    def paths(self):
        return [path for _, path, _ in self.asked]


@pytest.fixture
def pages():
    pages = Pages()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # http.server's name
            pages.asked.append((self.command, self.path, self.headers))
            status, headers, body = pages.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_): ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    pages.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield pages
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def content(address, headers=None, method="GET"):
    with opened(address, headers or {}, 10.0, method) as answer:
        return b"".join(chunks(answer))


def failure(address):
    with pytest.raises(HttpError) as caught:
        content(address)
    assert "\n" not in str(caught.value)
    return caught.value


def moved(to):
    return 302, {"Location": to, "Set-Cookie": "who=me"}, b""


def test_authorization_is_for_the_first_address_only(pages):
    pages.answers = {"/a": moved("/b"), "/b": (200, {}, b"found")}
    headers = {"Authorization": "Bearer secret", "Range": "bytes=0-"}
    assert content(f"{pages.address}/a", headers) == b"found"
    (_, _, first), (_, _, second) = pages.asked
    assert (first["Authorization"], second["Authorization"]) == ("Bearer secret", None)
    assert second["Range"] == "bytes=0-"


def test_neither_cookies_nor_netrc_nor_compression(pages, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    pages.answers = {"/a": moved("/b"), "/b": (200, {}, b"found")}
    content(f"{pages.address}/a")
    for _, _, headers in pages.asked:
        assert headers["Cookie"] is headers["Authorization"] is None
        assert headers["Accept-Encoding"] == "identity"


def test_a_request_for_the_headers_stays_one_after_a_redirect(pages):
    pages.answers = {"/a": moved("/b"), "/b": (200, {"Content-Length": "5"}, b"found")}
    assert content(f"{pages.address}/a", method="HEAD") == b""
    assert [method for method, _, _ in pages.asked] == ["HEAD", "HEAD"]


def test_redirects_end_after_ten(pages):
    pages.answers = {f"/{number}": moved(f"/{number + 1}") for number in range(20)}
    error = failure(f"{pages.address}/0")
    assert (str(error), error.again) == ("the server redirects more than 10 times", False)
    assert len(pages.asked) == 11


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("http://example.org/x?sig=secret", "http://example.org is not https"),
        ("ftp://127.0.0.1/x", "ftp://127.0.0.1 is not https"),
        ("//me:secret@localhost/x", "the address of localhost contains a user name"),
        ("http://[secret", "the address is not valid"),
    ],
)
def test_redirects_to_unsafe_addresses_are_refused_and_secrets_not_told(to, told, pages):
    pages.answers = {"/a": moved(to)}
    error = failure(f"{pages.address}/a")
    assert (str(error), error.again) == (told, False)


def test_a_failure_does_not_tell_the_query(pages):
    refused = failure("http://127.0.0.1:9/x?sig=secret")
    assert (str(refused), refused.again) == ("[Errno 111] Connection refused", True)
    gone = failure(f"{pages.address}/x?sig=secret")
    assert (str(gone), gone.status, gone.again) == ("404 Not Found", 404, False)


def test_a_transfer_that_ends_early_is_an_error(pages):
    pages.answers = {"/a": (200, {"Content-Length": "2000"}, b"x" * 500)}
    error = failure(f"{pages.address}/a")
    assert (str(error), error.again) == ("the transfer ended after 500 of 2,000 bytes", True)


def test_blanks_and_letters_of_other_alphabets_are_quoted(pages):
    pages.answers = {"/a%20b?c='d%20e'": moved("/ä b"), "/%C3%A4%20b": (200, {}, b"found")}
    # As servers send it: the bytes of UTF-8, which http.server encodes as Latin-1.
    pages.answers["/a%20b?c='d%20e'"] = moved("/ä b".encode().decode("latin-1"))
    assert content(f"{pages.address}/a b?c='d e'") == b"found"


def test_proxies_of_the_environment_are_used_and_their_exceptions(pages, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", pages.address)
    monkeypatch.setattr(http_client, "_LOOPBACK", {"127.0.0.1", "far.example"})
    pages.answers = {"http://far.example/a": (200, {}, b"by proxy"), "/a": (200, {}, b"directly")}
    assert content("http://far.example/a") == b"by proxy"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert content(f"{pages.address}/a") == b"directly"


@pytest.fixture
def waits(monkeypatch):
    waits = []
    monkeypatch.setattr(http_client, "time", SimpleNamespace(sleep=waits.append))
    return waits


def failing(*errors):
    left = list(errors)

    def ask():
        if left:
            raise left.pop(0)
        return "found"

    return ask


def passing(retry_after=None):
    headers = {"Retry-After": retry_after} if retry_after else {}
    return HttpError("503 Busy", again=True, status=503, headers=headers)


def test_waits_grow(waits):
    assert retried(failing(*[passing()] * 8), 9, 1.0) == "found"
    assert waits == [0, 2, 4, 8, 16, 32, 60, 60]


def test_the_server_may_request_a_wait(waits):
    soon = formatdate(time.time() + 3600, usegmt=True)
    errors = [passing("20"), passing("9000"), passing(soon), passing("later")]
    assert retried(failing(*errors), 5, 0.0) == "found"
    assert waits[:3] == [20, 60, 60]
    assert waits[3] == 0


@pytest.mark.parametrize(("error", "tries"), [(passing(), 3), (HttpError("404"), 1)])
def test_the_last_failure_is_raised_with_the_number_of_tries(error, tries, waits):
    with pytest.raises(HttpError) as caught:
        retried(failing(*[error] * 5), 3, 1.0)
    assert caught.value.tries == tries
    assert len(waits) == tries - 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("https://example.org/x", True),
        ("http://localhost:80/x", True),
        ("http://[::1]:80/x", True),
        ("http://example.org", False),
        ("http://127.0.0.1.example.org", False),
        ("ftp://127.0.0.1", False),
        ("https://", False),
        ("prices", False),
    ],
)
def test_safe_addresses(address, expected):
    assert is_safe(address) is expected


def test_a_host_of_the_local_machine_may_have_a_port():
    assert is_loopback("127.0.0.1:9")
    assert is_loopback("[::1]:9")
    assert not is_loopback("mcr.microsoft.com")
