"""The progress of a step, as lines that the step prints and the engine reads."""

import time
from dataclasses import dataclass, field

PREFIX = "progress: "


@dataclass
class Progress:
    """A printer of progress, at most once a second: ``progress: 512/900 images, 110/s``.

    Example::

        progress = Progress("images", total=900)
        progress(512)
    """

    unit: str
    total: int | None = None
    _started: float = field(default_factory=time.monotonic)
    _printed: float = 0.0

    def __call__(self, done: int, total: int | None = None) -> None:
        """Print the number of finished items, with the total and the time left if known."""
        now = time.monotonic()
        total = total or self.total
        if now - self._printed < 1.0 and done != total:
            return
        self._printed = now
        rate = done / max(now - self._started, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if total and done and done < total else ""
        of_total = f"/{total}" if total else ""
        print(f"{PREFIX}{done}{of_total} {self.unit}, {rate:.0f}/s{left}", flush=True)
