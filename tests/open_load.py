"""Load on a server: requests that arrive on schedule, whether or not earlier ones were answered."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sent:
    """A request: its answer's status (0 if there was none), and the time from when it was due."""

    status: int
    seconds: float


def offer(port: int, bodies: Sequence[bytes], per_s: float, seconds: float) -> list[Sent]:
    """Requests at even distances for so long; late ones count from when they were due."""

    async def run() -> list[Sent]:
        free: list[Connection] = []
        start = time.monotonic() + 0.05
        dues = [start + number / per_s for number in range(round(per_s * seconds))]

        async def one(number: int, due: float) -> Sent:
            await asyncio.sleep(due - time.monotonic())
            connection = free.pop() if free else Connection(port)
            try:
                status = await connection.score(bodies[number % len(bodies)])
                free.append(connection)
            except (OSError, EOFError):
                status = 0
            return Sent(status, time.monotonic() - due)

        return await asyncio.gather(*(one(*each) for each in enumerate(dues)))

    return asyncio.run(run())


def saturate(port: int, bodies: Sequence[bytes], connections: int, requests: int) -> list[Sent]:
    """So many requests, each connection sending its next one as soon as it has an answer."""

    async def run() -> list[Sent]:
        numbers, sent = iter(range(requests)), []

        async def one() -> None:
            connection = Connection(port)
            for number in numbers:
                begun = time.monotonic()
                status = await connection.score(bodies[number % len(bodies)])
                sent.append(Sent(status, time.monotonic() - begun))

        await asyncio.gather(*(one() for _ in range(connections)))
        return sent

    return asyncio.run(run())


def percentile(sent: Sequence[Sent], share: float) -> float:
    """Of their seconds, the smallest that so many of them, in percent, did not exceed."""
    return float(np.percentile([each.seconds for each in sent], share, method="inverted_cdf"))


class Connection:
    """One that is kept, and does no more than these requests need."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def score(self, body: bytes) -> int:
        """The status of the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(
            b"POST /score HTTP/1.1\r\nhost: x\r\ncontent-type: application/octet-stream\r\n"
            b"content-length: %d\r\n\r\n" % len(body) + body
        )
        head = await reader.readuntil(b"\r\n\r\n")
        headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        await reader.readexactly(int(headers[b"content-length"]))
        if headers.get(b"connection") == b"close":
            writer.close()
            self._streams = None
        return int(head.split()[1])
