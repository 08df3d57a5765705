"""Records of commands in progress, so that a repeated command continues an interrupted one."""

# decision 13

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tfhub_blocks.records.base.folders import locked, write_file

# How long the same command can continue an interrupted one.
TAKEN_UP_S = 3600


@contextmanager
def intent(folder: Path, key: str, value: str) -> Iterator[tuple[str, bool]]:
    """Yield the value that an interrupted run of the same command chose; otherwise a new value.

    An example is a job's name: if a client does not know that its request arrived, it repeats the
    request under the same name, and only one job exists. Of two commands that run at the same time,
    one waits.

    Args:
        folder: The folder of the records.
        key: The digest or name that identifies the command.
        value: The value to use without an earlier one.

    Yields:
        The value, and True if it is new.
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
