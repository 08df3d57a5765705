"""The scoring program in a process of its own, as in serving, and requests to the program."""

# decision 45

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.records.base.child_process import command
from tfhub_blocks.records.base.errors import BlocksError

HOST = "127.0.0.1"
MOST_START_S = 600.0
# Limits so large that no request is refused: the check measures how long answers take.
WAITING, BUDGET_MS = 100_000, 600_000.0


@dataclass
class Server:
    """A scoring program that is ready, ``cold_start_s`` seconds after its start."""

    process: subprocess.Popen[str]
    url: str
    content_type: str
    cold_start_s: float = 0.0
    _local: threading.local = field(default_factory=threading.local)

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Send a request, over a connection per thread, and return the status and the body."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = HTTPConnection(str(urlparse(self.url).netloc), timeout=MOST_START_S)
            self._local.connection = connection
        try:
            connection.request(method, path, body, {"content-type": self.content_type})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except Exception:
            connection.close()
            raise

    def score(self, content: bytes) -> NDArray[np.float32]:
        """Return the probabilities of one item.

        Raises:
            ValueError: The item was refused; the message contains the server's.
        """
        status, body = self.ask("POST", "/score", content)
        if status != 200:
            raise ValueError(f"status {status}: {body.decode(errors='replace')[:200]}")
        row: dict[str, Any] = json.loads(body)["predictions"][0]
        return np.array(row["probabilities"], np.float32)

    @property
    def memory_mb(self) -> float:
        """The peak memory of the process, in 10**6 bytes."""
        return peak_memory_mb(self.process.pid)


def peak_memory_mb(process: int | Literal["self"]) -> float:
    """Return the peak memory of a process, in 10**6 bytes.

    ``getrusage`` would count the memory of the process that started this one.
    """
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6


@contextmanager
def serving(model: Path, is_text: bool, where: str) -> Iterator[Server]:
    """Start a server of a finished model, with the runtime in its folder, and stop it at the end.

    Raises:
        BlocksError: The server did not become ready.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(
        command(__name__, str(model)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None  # noqa: S101 - standard error is a pipe
    lines: list[str] = []
    try:
        for line in process.stderr:
            lines.append(line)
            if line.startswith("at "):
                break
        else:
            raise _failed(where, lines)
        draining = threading.Thread(target=lines.extend, args=[process.stderr], daemon=True)
        draining.start()
        kind = "text/plain" if is_text else "application/octet-stream"
        server = Server(process, lines[-1].split()[1], kind)
        while server.ask("GET", "/health/ready")[0] != 200:
            if process.poll() is not None or time.perf_counter() > begun + MOST_START_S:
                raise _failed(where, lines)
            time.sleep(0.02)
        server.cold_start_s = time.perf_counter() - begun
        yield server
    except OSError as error:
        raise _failed(where, [*lines, str(error)]) from error
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    """Serve the folder in the command's argument."""
    from tfhub_blocks.compute.serving.limits import ServingLimits
    from tfhub_blocks.compute.serving.server import serve

    def announce(url: str) -> None:
        print("at", url, file=sys.stderr, flush=True)

    limits = ServingLimits(waiting=WAITING, budget_ms=BUDGET_MS)
    serve(Path(sys.argv[1]), "model", limits, "check_latency", announce=announce)


def _failed(where: str, lines: list[str]) -> BlocksError:
    last = next((line.strip() for line in reversed(lines) if line.strip()), "without output")
    return BlocksError(
        where,
        "scoring program",
        f"the scoring program ended or does not answer ({last[:300]})",
        "",
        "Run `tfhub-blocks serve MODEL` and read the log",
    )
