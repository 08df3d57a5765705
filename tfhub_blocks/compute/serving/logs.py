"""The log of a server: one JSON object per line on standard output, without request contents."""

# decision 72

import json
import logging
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

# The lines of one kind in a second; further lines are counted.
LINES_A_SECOND = 50
# The facts that make two lines of one event the same kind.
_KINDS = ("status", "kind", "message")
# Kinds beyond this number are one: a message may contain a number that always differs.
_MOST_KINDS = 100


@dataclass
class _Limiter:
    """The lines of each kind in the current second, and the number of those not written."""

    written: dict[tuple[str, ...], int] = field(default_factory=dict)
    suppressed: dict[tuple[str, ...], int] = field(default_factory=dict)
    second: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def admits(self, kind: tuple[str, ...]) -> bool:
        """Return True if a line of this kind may be written; otherwise count it."""
        with self.lock:
            now = int(time.monotonic())
            if now != self.second:
                self.second = now
                self.written.clear()
            if kind not in self.written and len(self.written) >= _MOST_KINDS:
                kind = kind[:1]
            count = self.written[kind] = self.written.get(kind, 0) + 1
            if count > LINES_A_SECOND:
                self.suppressed[kind] = self.suppressed.get(kind, 0) + 1
                return False
            return True

    def taken(self, at_once: bool) -> dict[tuple[str, ...], int]:
        """Return the counts of past seconds, or all, and start at zero."""
        with self.lock:
            if not self.suppressed or (not at_once and int(time.monotonic()) == self.second):
                return {}
            found, self.suppressed = self.suppressed, {}
            return found


_limiter = _Limiter()


def log(event: str, **facts: Any) -> None:
    """Write one line, or count it if there were 50 of its kind within this second.

    Two lines are of one kind if their event, status, kind of error and message are equal. If
    standard output is closed, the line is lost and the server continues.
    """
    kind = (event, *(str(facts[name]) for name in _KINDS if name in facts))
    if _limiter.admits(kind):
        _write(event, facts)


def flush_counts(at_once: bool = False) -> None:
    """Write the counts of the lines that were not written, one line for each kind.

    Args:
        at_once: Write the counts of the current second too, which may grow further.
    """
    for (event, *details), count in _limiter.taken(at_once).items():
        _write("repeated", {"of": event, "details": details, "count": count})


def _write(event: str, facts: dict[str, Any]) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        print(json.dumps({"time": now, "event": event, **facts}), flush=True)
    except OSError:
        return


def log_fault(event: str, error: BaseException, **facts: Any) -> None:
    """Write the stack of a fault in the server, without its message, which may quote a request."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    log(event, kind=type(error).__name__, places=places, **facts)


class LogHandler(logging.Handler):
    """A handler that writes the warnings of the HTTP server as log lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        if record.exc_info and record.exc_info[1]:
            log_fault("fault", record.exc_info[1])
        else:
            log("server", level=record.levelname.lower(), message=record.getMessage())


def use_json_logs() -> None:
    """Send the messages of the HTTP server to this log."""
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [LogHandler(logging.WARNING)], False
    logging.getLogger("uvicorn").propagate = False
    sys.stdout.flush()
