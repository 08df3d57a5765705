"""A real server of a model, as the command line starts it, and requests to it."""

import http.client
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toy_project import PATIENCE_S, wait_for

ROOT = Path(__file__).parents[1]
Answer = tuple[int, dict[str, str], bytes]


class Server:
    """A process that serves; ``lines`` is its log so far."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tfhub_blocks.cli", "serve", *arguments, "--port", "0"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.lines: list[str] = []
        self.told = self.process.stderr.readline()
        self.url = self.told.split()[2].rstrip(",") if "http" in self.told else ""
        self._reading = [
            threading.Thread(target=self.lines.extend, args=[stream], daemon=True)
            for stream in (self.process.stdout, self.process.stderr)
        ]
        for thread in self._reading:
            thread.start()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            assert self.process.poll() is None, self.lines
            return self.ask("GET", "/health/ready")[0] == 200

        wait_for(is_ready, poll_s=0.05)

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def ask(self, method: str, path: str, body: Any = None, kind: str = "") -> Answer:
        connection = self.connect()
        try:
            return ask(connection, method, path, body, kind)
        finally:
            connection.close()

    def score(self, body: Any, kind: str = "image/png") -> tuple[int, Any]:
        """Status and JSON."""
        if not isinstance(body, bytes):
            body, kind = json.dumps(body).encode(), "application/json"
        status, _, answer = self.ask("POST", "/score", body, kind)
        return status, json.loads(answer)

    def metric(self, name: str) -> float:
        lines = self.ask("GET", "/metrics")[2].decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def events(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def end(self, signal_number: int) -> int:
        """The exit status; after it, ``lines`` is all that was written."""
        self.process.send_signal(signal_number)
        status = self.process.wait(PATIENCE_S)
        for thread in self._reading:
            thread.join()
        return status


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: Any, kind: str
) -> Answer:
    connection.request(method, path, body, {"content-type": kind} if kind else {})
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    return answer.status, headers, answer.read()


@contextmanager
def serving(*arguments: str, **variables: str) -> Iterator[Server]:
    """A server that is ready; killed at the end if it still runs."""
    server = Server(*arguments, **variables)
    try:
        server.wait_until_ready()
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
