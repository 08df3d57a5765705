"""What a command is about to do, kept until it is done: an interrupted one is taken up again."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfhub_blocks.records.base.folders import locked, write_file

# How long an interrupted command is taken up by the same command.
TAKEN_UP_S = 3600


@contextmanager
def intent(folder: Path, key: str, value: str) -> Iterator[tuple[str, bool]]:
    """A value that the same command has again, if it ended before it knew that all is well.

    A job's name, for instance: whoever does not know whether a request arrived repeats it under
    the same name, and there is one job. Of two commands at once, one waits.

    Args:
        folder: Where intents are kept.
        key: What makes a command the same.
        value: The value, if there is no earlier one.

    Yields:
        The value, and whether it is new.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / f"{key}.json"
    with locked(folder / f"{key}.lock"):
        kept = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
        is_new = time.time() - kept.get("time", 0.0) > TAKEN_UP_S
        if is_new:
            kept = {"value": value, "time": time.time()}
            write_file(record, json.dumps(kept).encode())
        yield kept["value"], is_new
        record.unlink()
