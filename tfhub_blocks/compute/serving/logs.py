"""The log of a server: one JSON object per line on standard output, without request contents."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any


def log(event: str, **facts: Any) -> None:
    """Write one line. If standard output is closed, the line is lost and the server continues."""
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
