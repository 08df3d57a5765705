"""The HTTP server of a scoring program on one address, which runs until a signal stops it."""

# decision 41

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

from tfhub_blocks.compute.serving.app import Service, application
from tfhub_blocks.compute.serving.limits import ServingLimits
from tfhub_blocks.compute.serving.logs import log, use_json_logs
from tfhub_blocks.records.base.errors import BlocksError

# The time limit for accepted requests at the end; Azure ML waits equally long.
GRACE_S = 30
# Longer than proxies keep an idle connection, so that no proxy sends into a closed connection.
KEEP_ALIVE_S = 75
BACKLOG = 2048


class _Server(uvicorn.Server):
    """An HTTP server that is no longer ready as soon as it receives a signal to stop."""

    service: Service

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

    Raises:
        BlocksError: The model cannot be served, or the address cannot be bound.
    """
    begun = time.monotonic()
    service = Service(name, limits)
    held = _bound(address, where)
    config = uvicorn.Config(
        application(service),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        backlog=BACKLOG,
    )
    server = _Server(config)
    server.service = service
    use_json_logs()
    failed: list[BaseException] = []

    def load() -> None:
        try:
            # Imports TensorFlow, which takes seconds.
            from tfhub_blocks.compute.serving.scoring_program import open_program

            service.program = open_program(path, limits, where, service.metrics.add_batch)
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
