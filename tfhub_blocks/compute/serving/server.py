"""The HTTP server of a scoring program on one address, which runs until a signal stops it."""

# decisions 41 and 72

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from tfhub_blocks.compute.serving.app import READING, Service, application
from tfhub_blocks.compute.serving.connections import (
    HEADER_BYTES,
    KEEP_ALIVE_S,
    Deadlines,
    Guard,
    most_connections,
)
from tfhub_blocks.compute.serving.limits import ServingLimits
from tfhub_blocks.compute.serving.logs import flush_counts, log, use_json_logs
from tfhub_blocks.records.base.errors import BlocksError

# The time limit for accepted requests at the end; Azure ML waits equally long.
GRACE_S = 30
BACKLOG = 2048
# Without free descriptors, asyncio tries as often before it pauses for a second.
ACCEPTED_AT_ONCE = 16
# The server's ticks in a second.
_TICKS = 10


class _Server(uvicorn.Server):
    """An HTTP server that is no longer ready as soon as it receives a signal to stop."""

    service: Service
    guard: Guard

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start accepting connections, with a longer queue than asyncio accepts at once."""
        await super().startup(sockets)
        for held in sockets or []:
            held.listen(BACKLOG)

    async def on_tick(self, counter: int) -> bool:
        """Close slow connections, and write the counts of suppressed log lines, each second."""
        if counter % _TICKS == 0:
            self.guard.sweep(self.server_state.connections, time.monotonic())  # type: ignore[arg-type]
            flush_counts()
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Mark the service as stopping, and stop at the next turn of the event loop."""
        self.service.stopping = True
        super().handle_exit(sig, frame)


def serve(
    path: Path,
    name: str,
    limits: ServingLimits,
    where: str,
    address: tuple[str, int] = ("127.0.0.1", 0),
    announce: Callable[[str], None] = lambda _: None,
    trust_code: bool = False,
) -> None:
    """Serve a model until SIGTERM or SIGINT. All requests accepted until then are answered.

    The address answers at once, ``/health/ready`` and ``/score`` after the model is loaded.

    Args:
        path: The folder of a model, an encoder or an MLflow model.
        name: The name of the model.
        limits: The limits of requests.
        where: The calling command or step, for messages.
        address: Host and port; port 0 is any free port.
        announce: Called with the URL as soon as the port is bound.
        trust_code: True if a person trusts the code of an MLflow pyfunc.

    Raises:
        BlocksError: The model cannot be served, or the address cannot be bound.
    """
    begun = time.monotonic()
    guard = Guard(
        most_connections(limits.waiting + READING), Deadlines(body_s=limits.body_timeout_s)
    )
    service = Service(name, limits, guard)
    held = _bound(address, where)
    config = uvicorn.Config(
        application(service),
        http=guard,  # type: ignore[arg-type]  # it returns a protocol, as a class does
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=int(KEEP_ALIVE_S),
        h11_max_incomplete_event_size=HEADER_BYTES,
        backlog=ACCEPTED_AT_ONCE,
    )
    server = _Server(config)
    server.service, server.guard = service, guard
    use_json_logs()
    failed: list[BaseException] = []

    def load() -> None:
        try:
            # May import TensorFlow, which takes seconds.
            from tfhub_blocks.compute.serving.scoring_program import open_program

            service.program = open_program(
                path, limits, where, service.metrics.add_batch, trust_code
            )
            log("ready", model=name, seconds=round(time.monotonic() - begun, 3))
        except BaseException as error:
            failed.append(error)
            server.should_exit = True

    loading = threading.Thread(target=load, name="load")
    with _stopping_at_signals(server), held:
        announce(_url(held))
        log("starting", model=name, url=_url(held))
        loading.start()
        server.run(sockets=[held])
        loading.join()
    if failed:
        raise failed[0]
    if service.program:
        service.program.close()
    flush_counts(at_once=True)
    log("stopped", seconds=round(time.monotonic() - begun, 3))


def _bound(address: tuple[str, int], where: str) -> socket.socket:
    host, port = address
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # asyncio sends each answer at once (TCP_NODELAY) only if the socket names TCP.
        held = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(address)
        held.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        raise BlocksError(
            where,
            f"{host}:{port}",
            f"the address cannot be bound ({error})",
            "a free port on an address of this machine",
            "Pass another --port, or --port 0 for any free port",
        ) from error
    return held


def _url(held: socket.socket) -> str:
    host, port = held.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _stopping_at_signals(server: uvicorn.Server) -> Iterator[None]:
    """Handle signals also before the HTTP server does, and when it raises the signal again."""

    def stop(*_: Any) -> None:
        server.should_exit = True

    before = {kind: signal.signal(kind, stop) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
