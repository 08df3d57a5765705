"""The server: the scoring program behind HTTP on one address, until it is told to stop."""

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

# How long requests that were taken may need at the end; Azure ML waits so long, too.
GRACE_S = 30
# Longer than those in front of us keep an idle connection, so that none sends into a closed one.
KEEP_ALIVE_S = 75
BACKLOG = 2048


class _Server(uvicorn.Server):
    """Says that it is not ready any more as soon as it is told to stop."""

    service: Service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop at the next turn of the loop."""
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
    """Serve a model until SIGTERM or SIGINT; what was taken until then is answered.

    The address answers at once, ``/health/ready`` and ``/score`` when the model is loaded.

    Args:
        path: The folder of a model, an encoder or an MLflow model.
        name: What it is called.
        limits: What is taken.
        where: Who serves, for messages.
        address: Host and port; port 0 is any that is free.
        announce: Called with the URL as soon as the address is held.

    Raises:
        BlocksError: The model cannot be served, or the address not be had.
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
            # TensorFlow, which takes seconds.
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
        # Only of a socket that names TCP does asyncio send each answer at once (TCP_NODELAY).
        held = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(address)
        held.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        raise BlocksError(
            where,
            f"{host}:{port}",
            f"this address cannot be had ({error})",
            "one of this machine that is free",
            "give another --port, or 0 for any that is free",
        ) from error
    return held


def _url(held: socket.socket) -> str:
    host, port = held.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _stopping_at_signals(server: uvicorn.Server) -> Iterator[None]:
    """Also before the HTTP server minds signals, and when it raises again what stopped it."""

    def stop(*_: Any) -> None:
        server.should_exit = True

    before = {kind: signal.signal(kind, stop) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
