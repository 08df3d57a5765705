"""Metrics of a server, in Prometheus's text format 0.0.4."""

# decision 41

import os
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)
_PREFIX = "tfhub_blocks_"


class Histogram:
    """The counts of values up to each bound, and the sum of values."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str) -> Iterator[str]:
        """Yield the samples; the count of each bound includes all lower values."""
        below = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            below += count
            shown = "+Inf" if bound == float("inf") else f"{bound:g}"
            yield f'{name}_bucket{{le="{shown}"}} {below}'
        yield f"{name}_sum {self.sum:.9g}"
        yield f"{name}_count {below}"


@dataclass
class ServerMetrics:
    """The metrics of a server; all methods are thread-safe."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    request_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    batch_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    batch_items: Histogram = field(default_factory=lambda: Histogram(SIZES))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started: float = field(default_factory=time.time)

    def add_request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request. Seconds are recorded only for scored requests."""
        with self._lock:
            self.requests[route, status] += 1
            if route == "/score" and status == 200:
                self.request_s.add(seconds)

    def add_batch(self, items: int, seconds: float) -> None:
        """Count a computed batch."""
        with self._lock:
            self.batch_items.add(items)
            self.batch_s.add(seconds)

    def text(self, ready: bool, held: int, connections: int, closed: Mapping[str, int]) -> str:
        """Return all metrics as text, with the state at the moment.

        Args:
            ready: True if the server accepts requests.
            held: The number of items that wait or are computed.
            connections: The number of open connections.
            closed: The number of connections that the server closed early, by reason.
        """
        with self._lock:
            lines = [*self._lines(ready, held), *_connection_lines(connections, closed)]
        return "\n".join([*lines, ""])

    def _lines(self, ready: bool, held: int) -> Iterator[str]:
        yield from _head("requests_total", "counter", "Requests by route and status.")
        for (route, status), count in sorted(self.requests.items()):
            yield f'{_PREFIX}requests_total{{route="{route}",status="{status}"}} {count}'
        for name, histogram, description in (
            ("request_seconds", self.request_s, "Duration of scored requests."),
            ("batch_seconds", self.batch_s, "Duration of computed batches."),
            ("batch_items", self.batch_items, "Number of items in computed batches."),
        ):
            yield from _head(name, "histogram", description)
            yield from histogram.lines(_PREFIX + name)
        yield from _head("held_items", "gauge", "Items that are waiting or being computed.")
        yield f"{_PREFIX}held_items {held}"
        yield from _head("ready", "gauge", "1 if the server accepts requests, else 0.")
        yield f"{_PREFIX}ready {int(ready)}"
        yield "# TYPE process_resident_memory_bytes gauge"
        yield f"process_resident_memory_bytes {resident_bytes()}"
        yield "# TYPE process_cpu_seconds_total counter"
        yield f"process_cpu_seconds_total {time.process_time():.3f}"
        yield "# TYPE process_start_time_seconds gauge"
        yield f"process_start_time_seconds {self._started:.3f}"


def _connection_lines(count: int, closed: Mapping[str, int]) -> Iterator[str]:
    yield from _head("connections", "gauge", "Open connections.")
    yield f"{_PREFIX}connections {count}"
    described = "Connections that the server closed early, by reason."
    yield from _head("connections_closed_total", "counter", described)
    for reason, times in sorted(closed.items()):
        yield f'{_PREFIX}connections_closed_total{{reason="{reason}"}} {times}'


def resident_bytes() -> int:
    """Return the resident memory of this process, or 0 if the system does not report it."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _head(name: str, kind: str, description: str) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {description}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
