"""Load: requests that arrive on schedule, whether or not earlier ones were answered.

Who waits for an answer before the next request asks a slow server less often, and so hides how
slow it is (coordinated omission). Here each request has a time at which it is due, and its latency
counts from that, whenever it could be sent.
"""

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
"""Sends the request of a number and comes back with its answer; from any thread."""

SENDERS = 64


@dataclass(frozen=True, eq=False)
class Load:
    """What became of a load: ``latencies_ms`` of what was answered, in the order of being due."""

    offered_per_s: float
    latencies_ms: NDArray[np.float64]
    failed: int
    elapsed_s: float

    @property
    def answered_per_s(self) -> float:
        """How many were answered in a second."""
        return len(self.latencies_ms) / self.elapsed_s


def open_loop(send: Send, per_s: float, requests: int, senders: int = SENDERS) -> Load:
    """Requests at even distances, each sent when it is due or, if all senders wait, later.

    What raises counts as failed.
    """
    latencies, lock, numbers = np.full(requests, np.nan), threading.Lock(), iter(range(requests))
    start = time.perf_counter() + 0.05  # for the senders to be there

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            due = start + number / per_s
            time.sleep(max(due - time.perf_counter(), 0))
            with suppress(Exception):  # whatever it is, this one was not answered
                send(number)
                latencies[number] = 1000 * (time.perf_counter() - due)

    with ThreadPoolExecutor(senders) as pool:
        for future in [pool.submit(work) for _ in range(senders)]:
            future.result()
    elapsed_s = time.perf_counter() - start
    answered = latencies[~np.isnan(latencies)]
    return Load(per_s, answered, requests - len(answered), elapsed_s)


def closed_loop(send: Send, concurrency: int, seconds: float) -> float:
    """What is answered in a second while so many always wait: a rate, and nothing of latency.

    The last request of each counts with the time that it took.
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
