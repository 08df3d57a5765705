"""A record of a run, step by step, for people and programs."""

# decisions 27, 29, 33 and 74

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tfhub_blocks.control.project.run_terms import Terms, read_terms
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.base.redaction import without_secrets

# Azure ML's own status words.
NOT_STARTED = "NotStarted"
RUNNING = "Running"
COMPLETED = "Completed"
FAILED = "Failed"
CANCELED = "Canceled"
# A local run whose process was killed; Azure ML has no such status.
INTERRUPTED = "Interrupted"

FINAL = {COMPLETED, FAILED, CANCELED, INTERRUPTED}
METRICS_NAME = "metrics.json"
RECORD_NAME = "run.json"
# Locked by the process of a local run, as long as it lives.
LOCK_NAME = "run.lock"
# Below .runs: local runs, and jobs that were submitted to Azure ML from here.
FOLDERS = ("runs", "jobs")
# The terms of steps in records without terms: those are older, and all ran locally.
_OF_OLD = Terms("local", "", "", instances=1, timeout_s=0, price_per_hour=0.0)


@dataclass
class StepRecord:
    """The result of one step, and the terms on which the step ran.

    ``key`` is the digest of everything that a step on Azure ML depends on, by which it is reused.
    ``inputs`` contains the source of each port: ``{"step": S, "port": P}``, ``{"path": P}`` or
    ``{"value": V}``, with V as written in the command. ``parts`` is everything that the outputs of
    a local step depend on, by which it is reused.
    """

    component: str
    status: str = NOT_STARTED
    reused: bool = False
    seconds: float = 0.0
    started: str = ""
    progress: str = ""
    error: str = ""
    exit_status: int | None = None
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    terms: Terms | None = None
    key: str = ""
    inputs: dict[str, dict[str, str]] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)


@dataclass
class RunRecord:
    """The result of a run: the content of ``run.json`` in its folder, and of ``--json`` output.

    ``owner`` is responsible for the run, and ``cost_centre`` pays. ``started_by`` are names of the
    user who started the run; they prove nothing. ``currency`` is the currency of the prices in the
    steps' terms, and ``prices_of`` is the day of those prices.
    """

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
    owner: str = ""
    cost_centre: str = ""
    currency: str = ""
    prices_of: str = ""
    started_by: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the record, JSON-ready."""
        record = asdict(self)
        for step in record["steps"].values():
            del step["progress"]
        return record

    def write(self) -> None:
        """Write ``run.json`` without secrets; the file is complete or absent."""
        text = json.dumps(without_secrets(self.as_dict()), indent=1, ensure_ascii=False)
        write_file(Path(self.folder) / RECORD_NAME, text.encode(errors="backslashreplace"))


def read_run(path: Path) -> RunRecord:
    """Read a run from its ``run.json``, of this version or an older one.

    A run whose process was killed has the status Interrupted, whatever the file states.

    Raises:
        ValueError: The file is not the record of a run.
        OSError: The file cannot be read.
    """
    return as_found(path.parent, _read(path))


def stated_status(folder: Path) -> str:
    """Return the status that a run's ``run.json`` states."""
    return _read(folder / RECORD_NAME).status


def _read(path: Path) -> RunRecord:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        steps = {
            name: StepRecord(
                **_known(step, StepRecord)
                | {"terms": read_terms(step["terms"]) if "terms" in step else _OF_OLD}
            )
            for name, step in record["steps"].items()
        }
        owner = record.get("owner") or record["inputs"].get("owner", "")
        return RunRecord(**_known(record, RunRecord) | {"steps": steps, "owner": owner})
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is not the record of a run ({error})") from error


@contextmanager
def held_run(folder: Path) -> Iterator[None]:
    """Mark a run's folder as the folder of a living process, inside this context.

    The system releases the lock when the process ends, however it ends.
    """
    with (folder / LOCK_NAME).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_interrupted(folder: Path, record: RunRecord) -> bool:
    """Return True if the process of a run ended before the run.

    Jobs of Azure ML and runs of older versions have no ``run.lock``, and count as what they state.
    """
    if record.status in FINAL:
        return False
    try:
        with (folder / LOCK_NAME).open("rb") as file:
            # Shared, so that several readers do not take each other for the run.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # absent, or held
        return False
    return True


def as_found(folder: Path, record: RunRecord) -> RunRecord:
    """Return the record of a run, with the status Interrupted if its process was killed."""
    if not is_interrupted(folder, record):
        return record
    steps = {
        name: replace(step, status=INTERRUPTED) if step.status == RUNNING else step
        for name, step in record.steps.items()
    }
    return replace(record, status=INTERRUPTED, steps=steps)


def _known(record: dict[str, Any], kind: Any) -> dict[str, Any]:
    """Return the entries that are fields of a dataclass; a newer record may have more."""
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in record.items() if key in names}


def past_runs(folder: Path) -> Iterator[tuple[Path, RunRecord]]:
    """Yield the runs and jobs below a folder ``.runs`` with their folders, the newest first.

    Unreadable records are skipped: a run may be starting at this moment.
    """
    found: list[tuple[Path, RunRecord]] = []
    for path in (path for name in FOLDERS for path in folder.glob(f"{name}/*/{RECORD_NAME}")):
        if not path.parent.is_symlink():  # runs/latest is one of the others
            with suppress(OSError, ValueError):
                found.append((path.parent, read_run(path)))
    yield from sorted(found, key=lambda item: began(item[1].started), reverse=True)


def began(text: str) -> datetime:
    """Parse the start time in a record; return the earliest time if the text is not a time."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def new_run_name(pipeline: str, runs: Path) -> str:
    """Return a name that no other run has, and create its folder: the pipeline and the UTC time."""
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
    """Return the numbers in a ``metrics.json``; an estimate with an interval counts as its value.

    A file of that name with other content has no metrics.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        values = {
            name: value.get("value") if isinstance(value, dict) else value
            for name, value in record.items()
        }
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}
    return {name: value for name, value in values.items() if isinstance(value, int | float)}
