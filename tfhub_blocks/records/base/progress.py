"""The progress of a step, as messages to its engine."""

import time
from dataclasses import dataclass, field

from tfhub_blocks.records.base.step_messages import send_message

LEAST_S = 1.0


@dataclass
class Progress:
    """A printer of progress lines, at most one a second.

    A line is such as ``progress: 512/900 images, 110/s, 4 s left``. The rate and the time left come
    from the steady rate, which is known a second after the first report. Loading, compiling and the
    first batch happen before that report and do not count. In a longer step the rate covers the
    last half to three quarters of the time since the first report, so a slow start is forgotten
    and a slower end is seen. The last line of a step without a steady rate contains the average
    since its start, if the start was at least a second ago.

    Example::

        progress = Progress("images", total=900)
        progress(512)
    """

    unit: str
    total: int | None = None
    _started: float = field(default_factory=time.monotonic)
    _printed: float | None = None
    # When how many were done: at the first report, and where the rate is measured from, now and
    # after the next doubling of the time.
    _first_s: float = 0.0
    _origin: tuple[float, int] = (0.0, 0)
    _next: tuple[float, int] = (0.0, 0)

    def __call__(self, done: int, total: int | None = None) -> None:
        """Print the number of finished items, with the total and the time left if known."""
        now = time.monotonic()
        total = total or self.total
        if self._printed is not None and now - self._printed < LEAST_S and done != total:
            return
        rate = self._steady_rate(now, done)
        left = f", {(total - done) / rate:.0f} s left" if total and rate and done < total else ""
        if rate is None and done == total and now - self._started >= LEAST_S:
            rate = done / (now - self._started)
        self._printed = now
        of_total = f"/{total}" if total else ""
        told = "" if rate is None else f", {rate:.0f}/s"
        send_message("progress", f"{done}{of_total} {self.unit}{told}{left}")

    def _steady_rate(self, now: float, done: int) -> float | None:
        """Return the items a second of the latest half of the time; None if it is not known yet."""
        if self._printed is None:
            self._first_s, self._origin = now, (now, done)
            self._next = self._origin
        elif now - self._first_s >= 2 * (self._next[0] - self._first_s):
            self._origin, self._next = self._next, (now, done)
        begun, before = self._origin
        return (done - before) / (now - begun) if now - begun >= LEAST_S else None
