"""Local runs whose process was killed: what is done about them at the next look."""

# decision 74

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tfhub_blocks.control.project.run_records import (
    INTERRUPTED,
    LOCK_NAME,
    RECORD_NAME,
    RunRecord,
    read_run,
    stated_status,
)
from tfhub_blocks.control.project.tracking_store import end_killed_runs


def settle_run(runs_dir: Path, folder: Path) -> RunRecord:
    """Read a run; if its process was killed, record that in ``run.json`` and in MLflow.

    Raises:
        ValueError: The folder contains no record of a run.
        OSError: The record cannot be read.
    """
    record = read_run(folder / RECORD_NAME)
    if record.status == INTERRUPTED and stated_status(folder) != INTERRUPTED:
        with suppress(OSError):  # the folder may be readable only
            replace(record, folder=str(folder.absolute())).write()
        end_killed_runs(runs_dir, record.run)
    return record


def settle_runs(runs_dir: Path) -> None:
    """Record all interrupted runs of a folder ``.runs``. Unreadable records are skipped."""
    for path in runs_dir.glob(f"runs/*/{LOCK_NAME}"):
        if not path.parent.is_symlink():
            with suppress(OSError, ValueError):
                settle_run(runs_dir, path.parent)
