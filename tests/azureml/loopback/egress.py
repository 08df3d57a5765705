"""The only way out for a program under test: known hosts lead to loopback, others nowhere."""

import fnmatch
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class EgressGuard(ThreadingHTTPServer):
    """A CONNECT-only proxy.

    ``routes`` maps host patterns to loopback ports. A host that fits none is refused with 403 and
    kept in ``refused``, which a test must find empty, or take with ``take_refused``.
    """

    daemon_threads = True

    def __init__(self, routes: Mapping[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Tunnel)
        self.routes = routes
        self.refused: list[str] = []
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def port_for(self, address: str) -> int | None:
        host, _, port = address.partition(":")
        if port == "443":
            for pattern, target in self.routes.items():
                if fnmatch.fnmatchcase(host.lower(), pattern):
                    return target
        return None

    def take_refused(self) -> list[str]:
        """What was refused since this was asked last."""
        refused, self.refused = self.refused, []
        return refused


class _Tunnel(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: EgressGuard

    def do_CONNECT(self) -> None:  # the base class's
        target = self.server.port_for(self.path)
        if target is None:
            self._refuse()
            return
        with socket.create_connection(("127.0.0.1", target)) as upstream:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_copy, args=(upstream, self.connection), daemon=True)
            back.start()
            _copy(self.connection, upstream)
            back.join()
        self.close_connection = True

    def _refuse(self) -> None:
        self.server.refused.append(f"{self.command} {self.path}")
        self.send_error(403, "this host is not part of the test")
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = do_PATCH = _refuse  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one side was dropped: so is the other
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
