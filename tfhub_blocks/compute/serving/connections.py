"""Connections of the HTTP server: their number, and the deadlines of each one.

A client that sends nothing, sends slowly, or does not read holds a connection and nothing else. So
the number of connections is limited, and a new one takes the place of the one that has waited
longest without a complete request: a health check is answered although all places are taken.
"""

# decision 72

import asyncio
import json
import resource
import time
from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# From the first byte of a request to the end of its headers; also from connecting to that byte.
HEADERS_S = 10.0
# Longer than proxies keep an idle connection, so that no proxy sends into a closed connection.
KEEP_ALIVE_S = 75.0
# The time in which a client has to read an answer.
READING_S = 20.0
# After the deadline of a body, for the answer with status 408, and for the rest of a refused body.
MARGIN_S = 5.0
# Connections beyond those whose requests are accepted.
SPARE_CONNECTIONS = 512
# Descriptors of the model, the log and the event loop, and of connections that are being closed.
OTHER_DESCRIPTORS = 192
FEWEST_CONNECTIONS = 16
HEADER_BYTES = 16 * 2**10
HEADER_COUNT = 100


@dataclass(frozen=True)
class Deadlines:
    """The deadlines of a connection in seconds."""

    headers_s: float = HEADERS_S
    idle_s: float = KEEP_ALIVE_S
    body_s: float = 10.0
    reading_s: float = READING_S


@dataclass
class Guard:
    """The connections of one server, their limit, and the reasons for which some were closed."""

    most: int
    deadlines: Deadlines
    closed: Counter[str] = field(default_factory=Counter)
    count: int = 0
    # Those without a complete request, the longest waiting first. Some may have one by now.
    waiting: "OrderedDict[Connection, None]" = field(default_factory=OrderedDict)

    def __call__(self, **details: Any) -> "Connection":
        """Return the protocol of a new connection."""
        return Connection(self, **details)

    def make_room(self, newcomer: "Connection") -> None:
        """Close the connection that has waited longest, if there are too many."""
        if self.count <= self.most:
            return
        while self.waiting:
            connection, _ = self.waiting.popitem(last=False)
            if connection is not newcomer and connection.is_waiting:
                connection.drop("too_many")
                return
        # All others have requests. Their number is limited by 429, so clients do not read.
        newcomer.drop("too_many")

    def sweep(self, connections: "set[Connection]", now: float) -> None:
        """Close the connections whose deadline has passed."""
        for connection in list(connections):
            connection.check(now)


class Connection(H11Protocol):
    """One connection, which has a deadline at each moment."""

    def __init__(self, guard: Guard, **details: Any) -> None:
        super().__init__(**details)
        self._guard = guard
        # The state and the request that the time belongs to.
        self._phase: tuple[Any, Any] = (h11.IDLE, None)
        self._since = time.monotonic()
        self._first_byte: float | None = None
        self._unread_since: float | None = None
        self._is_ended = False

    @property
    def is_waiting(self) -> bool:
        """True if the connection has no complete request and no answer on its way."""
        return bool(self.conn.their_state is h11.IDLE)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and close another one if there are too many."""
        super().connection_made(transport)
        self._guard.count += 1
        self._guard.waiting[self] = None
        self._guard.make_room(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop counting the connection."""
        self._end()
        self._guard.waiting.pop(self, None)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Read a part of a request."""
        if self._first_byte is None and self.is_waiting:
            self._first_byte = time.monotonic()
        super().data_received(data)
        if not self.is_waiting:
            self._first_byte = None

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if self.is_waiting and self.conn.trailing_data[0]:  # a part of the next request
            self._first_byte = time.monotonic()
        if not self._is_ended:
            self._guard.waiting[self] = None
            self._guard.waiting.move_to_end(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP; nothing is sent if an answer is on its way already."""
        is_head = self.cycle is None or self.cycle.response_complete
        is_long = is_head and len(self.conn.trailing_data[0]) > HEADER_BYTES
        self._refuse(431 if is_long else 400, "headers are too large" if is_long else msg)

    def check(self, now: float) -> None:
        """Close the connection if it is too slow. The server calls this once a second."""
        phase = (self.conn.their_state, self.cycle)
        if phase != self._phase:
            self._phase, self._since = phase, now
        if not self.transport.get_write_buffer_size():
            self._unread_since = None
        elif self._unread_since is None:
            self._unread_since = now
        elif now - self._unread_since > self._guard.deadlines.reading_s:
            self.drop("unread_answer")
            return
        reason = self._overdue(now)
        if reason == "slow_headers":
            self._refuse(408, "the headers took too long")
        if reason:
            self.drop(reason, at_once=reason != "slow_headers")

    def _overdue(self, now: float) -> str:
        """Return the reason to close the connection, or nothing."""
        limits = self._guard.deadlines
        if self.transport.is_closing():
            return ""
        if self.is_waiting:
            if self._first_byte is not None:
                return "slow_headers" if now - self._first_byte > limits.headers_s else ""
            limit_s = limits.headers_s if self.cycle is None else limits.idle_s
            return "idle" if now - self._since > limit_s else ""
        if self.conn.their_state is h11.SEND_BODY:
            return "slow_body" if now - self._since > limits.body_s + MARGIN_S else ""
        return ""

    def drop(self, reason: str, at_once: bool = True) -> None:
        """Close the connection, and count the reason."""
        self._guard.closed[reason] += 1
        self._guard.waiting.pop(self, None)
        if not at_once:
            self.transport.close()
            return
        self._end()
        self.transport.abort()

    def _end(self) -> None:
        if not self._is_ended:
            self._is_ended = True
            self._guard.count -= 1

    def _refuse(self, status: int, sentence: str) -> None:
        body = json.dumps({"error": sentence}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        events = (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        with suppress(h11.LocalProtocolError):  # an answer is on its way
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def most_connections(accepted: int) -> int:
    """Return the number of connections that the server may have.

    The limit of open files is raised to its hard limit, and connections leave some for the rest.

    Args:
        accepted: The number of requests that may be accepted at once.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    wanted = accepted + SPARE_CONNECTIONS
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(FEWEST_CONNECTIONS, min(wanted, soft - OTHER_DESCRIPTORS))
