"""What a run did, step by step, as a record that people and programs read."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tfhub_blocks.records.folders import write_file

# The words that Azure ML uses.
NOT_STARTED = "NotStarted"
RUNNING = "Running"
COMPLETED = "Completed"
FAILED = "Failed"
CANCELED = "Canceled"

METRICS_NAME = "metrics.json"


@dataclass
class StepRecord:
    """What became of one step."""

    component: str
    status: str = NOT_STARTED
    reused: bool = False
    seconds: float = 0.0
    progress: str = ""
    error: str = ""
    exit_status: int | None = None
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass
class RunRecord:
    """What became of a run: ``run.json`` in its folder, and what ``--json`` prints."""

    run: str
    pipeline: str
    profile: str
    folder: str
    started: str
    inputs: dict[str, str]
    steps: dict[str, StepRecord]
    status: str = RUNNING
    seconds: float = 0.0
    outputs: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    tracking_uri: str = ""

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        record = asdict(self)
        for step in record["steps"].values():
            del step["progress"]
        return record

    def write(self) -> None:
        """Write ``run.json``, whole."""
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False)
        write_file(Path(self.folder) / "run.json", text.encode())


def new_run_name(pipeline: str, runs: Path) -> str:
    """A name for a run that no other has: the pipeline and the time, in UTC."""
    stem = f"{pipeline}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    name, number = stem, 1
    while True:
        try:
            (runs / name).mkdir(parents=True)
        except FileExistsError:
            number += 1
            name = f"{stem}-{number}"
        else:
            return name


def read_metrics(path: Path) -> dict[str, float]:
    """The numbers of a ``metrics.json``, an estimate with its interval as its value.

    A file of that name with other content tells nothing.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        values = {
            name: value.get("value") if isinstance(value, dict) else value
            for name, value in record.items()
        }
    except (OSError, ValueError, AttributeError):
        return {}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}
