"""How far a step is, as a line that it prints and that an engine may read."""

import time
from dataclasses import dataclass, field

PREFIX = "progress: "


@dataclass
class Progress:
    """Prints how far a step is, at most once a second: ``progress: 512/900 images, 110/s``."""

    unit: str
    total: int | None = None
    _started: float = field(default_factory=time.monotonic)
    _printed: float = 0.0

    def __call__(self, done: int, total: int | None = None) -> None:
        """Say that so many are done, of so many in all if that is known."""
        now = time.monotonic()
        total = total or self.total
        if now - self._printed < 1.0 and done != total:
            return
        self._printed = now
        rate = done / max(now - self._started, 1e-9)
        left = f", {(total - done) / rate:.0f} s left" if total and done and done < total else ""
        of_total = f"/{total}" if total else ""
        print(f"{PREFIX}{done}{of_total} {self.unit}, {rate:.0f}/s{left}", flush=True)
