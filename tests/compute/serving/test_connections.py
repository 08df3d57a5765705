"""Clients that send slowly, send garbage, do not read, or are too many."""

import asyncio
import contextlib
import http.client
import json
import resource
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
import uvicorn
from serving_process import ROOT, ask, serving
from toy_project import PATIENCE_S, wait_for

from tfhub_blocks.compute.serving import connections, logs, server
from tfhub_blocks.compute.serving.app import Service, application
from tfhub_blocks.compute.serving.connections import Deadlines, Guard
from tfhub_blocks.compute.serving.limits import ServingLimits

ANSWER = 200_000


class Answering:
    """A program that answers each request with so many bytes."""

    is_full, held = False, 0

    def submit(self, body, kind):
        answer = Future()
        answer.set_result(np.zeros(1))
        return [answer]

    def predictions(self, answers):
        return {"predictions": "x" * ANSWER}


class Short:
    """A server in this process whose deadlines are short."""

    def __init__(self, most=100):
        self.guard = Guard(most, Deadlines(headers_s=0.3, idle_s=0.6, body_s=0.3, reading_s=0.3))
        limits = ServingLimits(body_timeout_s=0.3)
        self.service = Service("short", limits, self.guard, program=Answering())
        self.held = server._bound(("127.0.0.1", 0), "test")
        self.port = self.held.getsockname()[1]
        config = uvicorn.Config(
            application(self.service), http=self.guard, log_config=None, lifespan="off", ws="none"
        )
        self.server = server._Server(config)
        self.server.service, self.server.guard = self.service, self.guard
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        asyncio.run(self.server._serve([self.held]))

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)


@contextlib.contextmanager
def short(**details):
    it = Short(**details)
    it.thread.start()
    try:
        yield it
    finally:
        it.server.should_exit = True
        it.thread.join()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(connections, "MARGIN_S", 0.3)
    monkeypatch.setattr(server, "_TICKS", 1)
    with short() as it:
        yield it


def rest_of(connection):
    answer = b""
    with contextlib.suppress(ConnectionError):
        while part := connection.recv(65536):
            answer += part
    return answer


def trickle(connection, first, part):
    """Send the first bytes, then parts until the server ends the connection; what it answered."""
    connection.sendall(first)
    connection.settimeout(0.05)
    answer, begun = b"", time.monotonic()
    while time.monotonic() < begun + PATIENCE_S:
        try:
            connection.sendall(part)
            received = connection.recv(65536)
            if not received:
                return answer
            answer += received
        except TimeoutError:
            continue
        except ConnectionError:
            return answer
    raise AssertionError("the server did not end the connection")


HEAD = b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-type: text/plain\r\n"
SLOW = {
    "nothing": (b"", b"", b"", "idle"),
    "headers": (b"GET / HTTP/1.1\r\n", b"a: b\r\n", b"HTTP/1.1 408 ", "slow_headers"),
    "body": (HEAD + b"content-length: 1000000\r\n\r\n", b"a", b"HTTP/1.1 408 ", "slow_body"),
    "chunks": (
        HEAD + b"transfer-encoding: chunked\r\n\r\n",
        b"1\r\na\r\n",
        b"HTTP/1.1 408 ",
        "slow_body",
    ),
    "body of no use": (
        b"GET /health HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n",
        b"a",
        b"HTTP/1.1 200 ",
        "slow_body",
    ),
    "second headers": (
        b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nGET / HT",
        b"T",
        b"HTTP/1.1 200 ",
        "slow_headers",
    ),
}


@pytest.mark.parametrize("kind", SLOW)
def test_slow_client_loses_its_connection(quick, kind):
    first, part, expected, reason = SLOW[kind]
    with quick.connect() as connection:
        answer = trickle(connection, first, part)
    assert answer.startswith(expected)
    assert quick.guard.closed == {reason: 1}
    wait_for(lambda: quick.guard.count == 0)


def test_idle_connection_is_closed_after_its_answer(quick):
    with quick.connect() as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert rest_of(connection).startswith(b"HTTP/1.1 200 ")
    assert quick.guard.closed == {"idle": 1}


def test_connection_in_use_stays(quick):
    connection = http.client.HTTPConnection("127.0.0.1", quick.port)
    connection.connect()
    connection.auto_open = 0  # so that a closed connection is an error
    for _ in range(40):
        assert ask(connection, "GET", "/health", None, "")[0] == 200
        time.sleep(0.05)
    connection.close()
    assert not quick.guard.closed


def test_client_that_does_not_read_loses_its_connection(quick):
    with quick.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = HEAD + b"content-length: 1\r\n\r\na"
        with contextlib.suppress(ConnectionError):
            connection.sendall(request * 200)
        wait_for(lambda: quick.guard.closed["unread_answer"] == 1)
    wait_for(lambda: quick.guard.count == 0)


def test_the_longest_waiting_connection_makes_room(quick):
    quick.guard.most = 4
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(quick.connect()) for _ in range(4)]
        wait_for(lambda: quick.guard.count == 4)
        newest = stack.enter_context(quick.connect())
        assert rest_of(held[0]) == b""
        newest.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert rest_of(newest).startswith(b"HTTP/1.1 200 ")
    assert quick.guard.closed["too_many"] == 1


def test_the_newest_is_refused_if_all_others_have_requests(quick):
    quick.guard.most = 2
    with contextlib.ExitStack() as stack:
        for number in range(2):
            connection = stack.enter_context(quick.connect())
            connection.sendall(HEAD + b"content-length: 9\r\n\r\na")
            wait_for(lambda number=number: quick.service.requests == number + 1)
        assert rest_of(stack.enter_context(quick.connect())) == b""


def exchange(port, sent):
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        with contextlib.suppress(OSError):  # it need not read all of that
            connection.sendall(sent)
        return rest_of(connection)


ODD = {
    "HTTP/1.0": (b"GET /health HTTP/1.0\r\n\r\n", [200]),
    "HTTP/1.0 kept open": (
        b"GET /health HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
        [200],
    ),
    "HTTP/9.9": (b"GET /health HTTP/9.9\r\nhost: x\r\n\r\n", [200]),
    "two at once": (b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n" * 2, [200, 200]),
    "garbage after a request": (
        b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n\x00\xff garbage\r\n\r\n",
        [200, 400],
    ),
    "garbage after a body": (
        HEAD + b"content-length: 1\r\n\r\na\x00\xff\xfe\r\n\r\n",
        [200, 400],
    ),
    "bad size of a chunk": (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", [400]),
    "endless size of a chunk": (
        HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"1" * 40_000,
        [400],
    ),
    "chunk longer than its size": (
        HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
        [400],
    ),
    "length and chunks": (
        HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        [200, 400],
    ),
    "another transfer coding": (HEAD + b"transfer-encoding: gzip\r\n\r\n", [501, 400]),
    "many headers": (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 200 + b"\r\n", [431]),
    "large headers": (
        b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: " + b"b" * 30_000 + b"\r\n\r\n",
        [431],
    ),
    "headers without an end": (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 200_000, [431]),
    "blank lines": (b"\r\n\r\n\r\n", [400]),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", [400]),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_request_gets_an_answer_and_no_fault(quick, kind, capfd):
    sent, expected = ODD[kind]
    answer = exchange(quick.port, sent)
    lines = answer.split(b"HTTP/1.1 ")
    statuses = [int(line[:3]) for line in lines[1:]]
    # A second answer may get lost when the connection ends with unread bytes.
    assert statuses == expected[: len(statuses)] or (len(statuses) == 1 and statuses[0] in expected)
    assert statuses or kind == "headers without an end"
    assert '"event": "fault"' not in capfd.readouterr().out
    wait_for(lambda: quick.guard.count == 0)
    assert exchange(quick.port, ODD["HTTP/1.0"][0]).startswith(b"HTTP/1.1 200 ")


def test_body_is_asked_for_and_a_refusal_ends_the_connection(quick):
    request = HEAD + b"expect: 100-continue\r\ncontent-length: 1\r\n"
    with quick.connect() as connection:
        connection.sendall(request + b"\r\n")
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"a")
        assert connection.recv(20).startswith(b"HTTP/1.1 200 ")
    quick.service.program.is_full = True
    with quick.connect() as connection:
        connection.sendall(request + b"\r\n")
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"connection: close" in answer


def test_repeated_lines_are_counted(capfd, monkeypatch):
    monkeypatch.setattr(logs, "_limiter", logs._Limiter())
    monkeypatch.setattr(logs.time, "monotonic", lambda: 7.0)
    for number in range(logs.LINES_A_SECOND + 30):
        logs.log("request", status=429, ms=number)
    logs.log("request", status=200, ms=1)
    logs.flush_counts()
    monkeypatch.setattr(logs.time, "monotonic", lambda: 8.0)
    logs.flush_counts()
    logs.log("request", status=429, ms=0)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    counted = [line for line in lines if line["event"] == "repeated"]
    assert [(it["of"], it["details"], it["count"]) for it in counted] == [("request", ["429"], 30)]
    assert len(lines) == logs.LINES_A_SECOND + 3


def test_kinds_of_lines_are_limited_too(capfd, monkeypatch):
    monkeypatch.setattr(logs, "_limiter", logs._Limiter())
    monkeypatch.setattr(logs.time, "monotonic", lambda: 7.0)
    for number in range(10_000):
        logs.log("server", message=f"connection {number} broke")
    assert len(capfd.readouterr().out.splitlines()) <= logs._MOST_KINDS + logs.LINES_A_SECOND


UNFINISHED = 1100


def test_eleven_hundred_unfinished_connections_leave_it_healthy(colours_model, items):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sent = (b"", b"GET / HT", b"GET / HTTP/1.1\r\na: b\r\n", HEAD + b"content-length: 9\r\n\r\na")
    try:
        with serving(str(colours_model)) as it, contextlib.ExitStack() as stack:
            for number in range(UNFINISHED):
                connection = socket.create_connection(("127.0.0.1", it.port), PATIENCE_S)
                stack.enter_context(connection)
                # Few of them in a body: those take what other requests may take.
                kind = 3 if number % 100 == 0 else number % 3
                with contextlib.suppress(ConnectionError):
                    connection.sendall(sent[kind])
                if number % 100 == 99:
                    assert it.ask("GET", "/health")[0] == 200
                    assert it.ask("GET", "/health/ready")[0] == 200
            assert it.score(items[0])[0] == 200
            assert it.metric("tfhub_blocks_connections ") < UNFINISHED
            assert it.metric("tfhub_blocks_connections_closed_total") > 0
            # Those that are left lose their connections in time, and nobody else's answer waits.
            wait_for(lambda: it.metric("tfhub_blocks_connections ") <= 1)
            assert it.events("fault") == []
            assert it.score(items[0])[0] == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


FEW_FILES = """
import resource
import sys

resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))
from tfhub_blocks.cli import main

sys.exit(main(sys.argv[1:]))
"""


def test_with_few_descriptors_it_has_fewer_connections(colours_model, items):
    process = subprocess.Popen(
        [sys.executable, "-c", FEW_FILES, "serve", str(colours_model), "--port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        port = int(process.stderr.readline().split()[2].rstrip(",").rpartition(":")[2])
        for line in process.stdout:
            if json.loads(line)["event"] == "ready":
                break
        with contextlib.ExitStack() as stack:
            for _ in range(400):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
            assert exchange(port, ODD["HTTP/1.0"][0]).startswith(b"HTTP/1.1 200 ")
            connection = http.client.HTTPConnection("127.0.0.1", port)
            assert ask(connection, "POST", "/score", items[0], "image/png")[0] == 200
            connection.close()
    finally:
        process.terminate()
        out, _ = process.communicate(timeout=PATIENCE_S)
    assert '"fault"' not in out
    assert process.returncode == 0
