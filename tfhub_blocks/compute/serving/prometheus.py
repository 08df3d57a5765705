"""Metrics of a server, as Prometheus reads them (text format 0.0.4)."""

import os
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SIZES = (1, 2, 4, 8, 16, 32, 64)
_PREFIX = "tfhub_blocks_"


class Histogram:
    """How often values fell below each bound, and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str) -> Iterator[str]:
        """Its samples; each bound counts all that lie below."""
        below = 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            below += count
            shown = "+Inf" if bound == float("inf") else f"{bound:g}"
            yield f'{name}_bucket{{le="{shown}"}} {below}'
        yield f"{name}_sum {self.sum:.9g}"
        yield f"{name}_count {below}"


@dataclass
class ServerMetrics:
    """What a server counts; it may be added to from any thread."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    request_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    batch_s: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    batch_items: Histogram = field(default_factory=lambda: Histogram(SIZES))
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started: float = field(default_factory=time.time)

    def add_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered; seconds only of those that were scored."""
        with self._lock:
            self.requests[route, status] += 1
            if route == "/score" and status == 200:
                self.request_s.add(seconds)

    def add_batch(self, items: int, seconds: float) -> None:
        """Count a batch that was computed."""
        with self._lock:
            self.batch_items.add(items)
            self.batch_s.add(seconds)

    def text(self, ready: bool, held: int) -> str:
        """All of them, with what holds now: whether it is ready, and how many items it holds."""
        with self._lock:
            return "\n".join([*self._lines(ready, held), ""])

    def _lines(self, ready: bool, held: int) -> Iterator[str]:
        yield from _head("requests_total", "counter", "Requests by route and status.")
        for (route, status), count in sorted(self.requests.items()):
            yield f'{_PREFIX}requests_total{{route="{route}",status="{status}"}} {count}'
        for name, histogram, told in (
            ("request_seconds", self.request_s, "Time of a request that was scored."),
            ("batch_seconds", self.batch_s, "Time of a computation."),
            ("batch_items", self.batch_items, "Items in a computation."),
        ):
            yield from _head(name, "histogram", told)
            yield from histogram.lines(_PREFIX + name)
        yield from _head("held_items", "gauge", "Items that wait or are being answered.")
        yield f"{_PREFIX}held_items {held}"
        yield from _head("ready", "gauge", "Whether the model is loaded and requests are taken.")
        yield f"{_PREFIX}ready {int(ready)}"
        yield "# TYPE process_resident_memory_bytes gauge"
        yield f"process_resident_memory_bytes {resident_bytes()}"
        yield "# TYPE process_cpu_seconds_total counter"
        yield f"process_cpu_seconds_total {time.process_time():.3f}"
        yield "# TYPE process_start_time_seconds gauge"
        yield f"process_start_time_seconds {self._started:.3f}"


def resident_bytes() -> int:
    """How much memory this process holds; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _head(name: str, kind: str, told: str) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {told}"
    yield f"# TYPE {_PREFIX}{name} {kind}"
