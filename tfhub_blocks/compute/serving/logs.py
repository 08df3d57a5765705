"""Logs of a server: one JSON object a line on standard output, and nothing of what was sent."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any


def log(event: str, **facts: Any) -> None:
    """Write one line. A reader that is gone is no reason to stop serving."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        print(json.dumps({"time": now, "event": event, **facts}), flush=True)
    except OSError:
        return


def log_fault(event: str, error: BaseException, **facts: Any) -> None:
    """Write where a fault of ours came from; not its message, which may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
    log(event, kind=type(error).__name__, places=places, **facts)


class LogHandler(logging.Handler):
    """Makes lines of the warnings of the HTTP server."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        if record.exc_info and record.exc_info[1]:
            log_fault("fault", record.exc_info[1])
        else:
            log("server", level=record.levelname.lower(), message=record.getMessage())


def use_json_logs() -> None:
    """Send what the HTTP server has to say to our log."""
    for name in ("uvicorn", "uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [LogHandler(logging.WARNING)], False
    logging.getLogger("uvicorn").propagate = False
    sys.stdout.flush()
