"""Load: requests that are sent on schedule, whether or not earlier requests were answered.

A client that waits for each answer sends fewer requests to a slow server, and so hides how slow the
server is (coordinated omission). In this module each request has a due time, and its latency counts
from this time, even if the request was sent later.
"""

# decision 45

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Send = Callable[[int], Any]
"""A function that sends the request with a number and waits for its answer; thread-safe."""

SENDERS = 64


@dataclass(frozen=True, eq=False)
class Load:
    """The result of a load: ``latencies_ms`` are of answered requests, ordered by due time."""

    offered_per_s: float
    latencies_ms: NDArray[np.float64]
    failed: int
    elapsed_s: float

    @property
    def answered_per_s(self) -> float:
        """The number of answered requests per second."""
        return len(self.latencies_ms) / self.elapsed_s


def open_loop(send: Send, per_s: float, requests: int, senders: int = SENDERS) -> Load:
    """Send requests at even intervals, each at its due time or, if all senders wait, later.

    A request whose ``send`` raises counts as failed.
    """
    latencies, lock, numbers = np.full(requests, np.nan), threading.Lock(), iter(range(requests))
    start = time.perf_counter() + 0.05  # time for the senders to start

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            due = start + number / per_s
            time.sleep(max(due - time.perf_counter(), 0))
            with suppress(Exception):  # whatever the cause, this request was not answered
                send(number)
                latencies[number] = 1000 * (time.perf_counter() - due)

    with ThreadPoolExecutor(senders) as pool:
        for future in [pool.submit(work) for _ in range(senders)]:
            future.result()
    elapsed_s = time.perf_counter() - start
    answered = latencies[~np.isnan(latencies)]
    return Load(per_s, answered, requests - len(answered), elapsed_s)


def closed_loop(send: Send, concurrency: int, seconds: float) -> float:
    """Return the answers per second while ``concurrency`` requests always wait.

    The result is a rate and does not describe latency. The last request of each sender counts, with
    its full time.
    """
    start = time.perf_counter()

    def work(first: int) -> int:
        done = 0
        while not done or time.perf_counter() < start + seconds:
            send(first + done * concurrency)
            done += 1
        return done

    with ThreadPoolExecutor(concurrency) as pool:
        answered = sum(pool.map(work, range(concurrency)))
    return answered / (time.perf_counter() - start)
