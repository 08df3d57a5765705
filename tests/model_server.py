"""A server of models on loopback, as tfhub.dev is one, that can be told to fail."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

NO_FAULT: dict[str, Any] = {}
QUERY = "tf-hub-format=compressed"


@dataclass
class ModelServer:
    """Answers by path, faults (each befalls one request, in order), and what it was asked.

    A fault is ``cut`` (after so many bytes), ``stall`` (seconds in the middle), ``status``,
    ``redirect``, ``length`` (what Content-Length states), ``headers``, ``start`` (of the part
    that it says it gives), or ``then`` (called when all is sent).
    """

    answers: dict[str, bytes] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    etag: str = '"one"'
    address: str = ""

    def handle(self, path: str) -> str:
        return f"{self.address}{path}"


@contextmanager
def serve_models() -> Iterator[ModelServer]:
    models = ModelServer()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            with lock:
                models.asked.append((path, self.headers["Range"]))
                fault = models.faults.pop(0) if models.faults else {}
            if "redirect" in fault:
                return self.answer(302, b"", {"Location": fault["redirect"]})
            if "status" in fault:
                return self.answer(fault["status"], b"", fault.get("headers", {}))
            if path not in models.answers or query != QUERY:
                return self.answer(404, b"", {})
            return self.answer_file(models.answers[path], fault)

        def answer_file(self, body: bytes, fault: dict[str, Any]) -> None:
            headers = {"ETag": models.etag} if models.etag else {}
            start, status = 0, 200
            asked = self.headers["Range"]
            if asked and self.headers["If-Range"] == models.etag:
                start, status = int(asked.removeprefix("bytes=").rstrip("-")), 206
                stated = fault.get("start", start)
                headers["Content-Range"] = f"bytes {stated}-{len(body) - 1}/{len(body)}"
            self.answer(status, body[start:], headers, fault)

        def answer(
            self,
            status: int,
            body: bytes,
            headers: dict[str, str],
            fault: dict[str, Any] = NO_FAULT,
        ) -> None:
            self.send_response(status)
            length = fault.get("length", len(body))
            for name, value in {"Content-Length": str(length), **headers}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            sent = body[: fault.get("cut", len(body))]
            try:
                self.wfile.write(sent[: len(sent) // 2])
                self.wfile.flush()
                time.sleep(fault.get("stall", 0))
                self.wfile.write(sent[len(sent) // 2 :])
            except OSError:
                pass  # who asked is gone
            fault.get("then", lambda: None)()
            self.close_connection = True

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    models.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield models
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
