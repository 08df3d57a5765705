"""HTTPS on one loopback port: Resource Manager, the data plane, and the way to storage."""

import http.client
import json
import socket
import ssl
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from loopback.identity import claims_of
from loopback.requests import Fault, Request
from loopback.resources import Answer, Refusal
from loopback.storage import tls_context
from loopback.surroundings import PUBLIC_HOSTS

if TYPE_CHECKING:
    from loopback.control_plane import ControlPlane

_MANAGEMENT = "https://management.azure.com"
_AUDIENCES = {_MANAGEMENT, "https://ml.azure.com"}
_REFUSED = {
    Fault.THROTTLED: (429, "TooManyRequests", {"Retry-After": "1"}),
    Fault.BROKEN: (500, "InternalServerError", {}),
    Fault.WRONG_TENANT: (401, "InvalidAuthenticationTokenTenant", {}),
    Fault.FORBIDDEN: (403, "AuthorizationFailed", {}),
    Fault.CONFLICT: (409, "Conflict", {}),
    Fault.CHANGED: (412, "PreconditionFailed", {}),
    Fault.EXPIRED: (
        401,
        "ExpiredAuthenticationToken",
        {"WWW-Authenticate": 'Bearer error="invalid_token"'},
    ),
}


class LoopbackServer(ThreadingHTTPServer):
    """Answers for every host name that the guard lets through."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, plane: "ControlPlane") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plane = plane
        self.tls = tls_context(plane.certificates)
        self.upstream_tls = ssl.create_default_context(cafile=str(plane.certificates.authority))
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        # Here, in the connection's own thread: a slow handshake must not hold up others.
        try:
            wrapped = self.tls.wrap_socket(request, server_side=True)
        except (OSError, ssl.SSLError):
            return
        self.RequestHandlerClass(wrapped, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what fails here. That a client goes away is no failure."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | ssl.SSLError):
            self.plane.recorder.broken_answers.append(repr(error))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LoopbackServer
    disable_nagle_algorithm = True
    _upstream: http.client.HTTPSConnection | None = None

    def _handle(self) -> None:
        body = self._read_body()
        parts = urlsplit(self.path)
        host = self.headers.get("Host", "").partition(":")[0].lower()
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        recorder = self.server.plane.recorder
        request = recorder.add(self.command, host, unquote(parts.path), query, len(body))
        request.deployment = self.headers.get("azureml-model-deployment", "")
        request.content = b"" if request.is_storage else body
        if request.fault is Fault.LOST_REQUEST:
            self._drop()
            return
        if request.fault in _REFUSED:
            status, code, headers = _REFUSED[request.fault]
            error = {"error": {"code": code, "message": f"injected: {request.fault.value}"}}
            answer = Answer(status, error, dict(headers))
        elif request.is_storage:
            self._forward(request, body)
            return
        else:
            answer = self._answer_to(request, body)
        request.status = answer.status
        self._finish(request, answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = _handle  # noqa: N815

    def _answer_to(self, request: Request, body: bytes) -> Answer:
        try:
            is_open = request.path == "/discovery" or request.host in PUBLIC_HOSTS
            refusal = None if is_open else self._check_token(request)
            return refusal or self.server.plane.answer(request, body)
        except Refusal as error:
            return error.answer
        except Exception as error:
            self.server.plane.recorder.broken_answers.append(f"{request}: {error!r}")
            message = {"error": {"code": "InternalServerError", "message": repr(error)}}
            return Answer(500, message)

    def _check_token(self, request: Request) -> Answer | None:
        claims = claims_of(self.headers.get("Authorization", ""))
        audience = str(claims.get("aud", "")).rstrip("/")
        # The data plane takes tokens of Resource Manager, which does not take those of jobs.
        wanted = {_MANAGEMENT} if request.host == urlsplit(_MANAGEMENT).hostname else _AUDIENCES
        if audience not in wanted:
            problem = f"the token is for {audience!r}, not for one of {sorted(wanted)}"
        elif float(str(claims["exp"])) < time.time():
            problem = "the token is expired"
        else:
            return None
        error = {"error": {"code": "InvalidAuthenticationToken", "message": problem}}
        return Answer(401, error, {"WWW-Authenticate": 'Bearer error="invalid_token"'})

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(chunks)

    def _forward(self, request: Request, body: bytes) -> None:
        """Let Azurite answer."""
        if self._upstream is None:
            self._upstream = http.client.HTTPSConnection(
                "localhost", self.server.plane.storage.port, context=self.server.upstream_tls
            )
        hop = {"connection", "transfer-encoding", "content-length"}
        headers = {k: v for k, v in self.headers.items() if k.lower() not in hop}
        if body or self.command in ("PUT", "POST"):
            headers["Content-Length"] = str(len(body))
        self._upstream.request(self.command, self.path, body or None, headers)
        upstream = self._upstream.getresponse()
        data = upstream.read()
        request.status = upstream.status
        kept = [(k, v) for k, v in upstream.getheaders() if k.lower() not in hop]
        length = upstream.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self._send(request, upstream.status, [*kept, ("Content-Length", length or "0")], data)

    def _finish(self, request: Request, answer: Answer) -> None:
        data = b"" if answer.body is None else _encode(answer.body)
        kind = "text/plain" if isinstance(answer.body, str) else "application/json"
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(data)),
            "x-ms-request-id": str(uuid.uuid4()),
        }
        self._send(request, answer.status, list((headers | answer.headers).items()), data)

    def _send(
        self, request: Request, status: int, headers: list[tuple[str, str]], data: bytes
    ) -> None:
        if request.fault is Fault.LOST_ANSWER:
            self._drop()
            return
        if request.fault is Fault.SLOW:
            time.sleep(1.0)
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def finish(self) -> None:
        """Close what the connection held open."""
        if self._upstream is not None:
            self._upstream.close()
        super().finish()

    def _drop(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _encode(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
