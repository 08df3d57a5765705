"""What a run did, step by step, as a record that people and programs read."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tfhub_blocks.control.project.run_terms import Terms, read_terms
from tfhub_blocks.records.base.folders import write_file

# The words that Azure ML uses.
NOT_STARTED = "NotStarted"
RUNNING = "Running"
COMPLETED = "Completed"
FAILED = "Failed"
CANCELED = "Canceled"

FINAL = {COMPLETED, FAILED, CANCELED}
METRICS_NAME = "metrics.json"
RECORD_NAME = "run.json"
# Below .runs: what ran here, and what was sent to Azure ML from here.
FOLDERS = ("runs", "jobs")
# The steps of records from before terms were kept, all of which ran on this machine.
_OF_OLD = Terms("local", "", "", instances=1, timeout_s=0, price_per_hour=0.0)


@dataclass
class StepRecord:
    """What became of one step, and on which terms it ran.

    ``key`` is the digest of what a step on Azure ML was made of, by which it is reused.
    ``inputs`` says of each port what it got: ``{"step": S, "port": P}``, ``{"path": P}`` or
    ``{"value": V}``, V as it stood in the command.
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


@dataclass
class RunRecord:
    """What became of a run: ``run.json`` in its folder, and what ``--json`` prints.

    ``owner`` answers for it and ``cost_centre`` pays; ``started_by`` are names of whoever started
    it, which prove nothing; ``currency`` is that of the prices in the
    terms of its steps, and ``prices_of`` the day that these were of.
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
        """JSON-ready."""
        record = asdict(self)
        for step in record["steps"].values():
            del step["progress"]
        return record

    def write(self) -> None:
        """Write ``run.json``, whole."""
        text = json.dumps(self.as_dict(), indent=1, ensure_ascii=False)
        write_file(Path(self.folder) / RECORD_NAME, text.encode())


def read_run(path: Path) -> RunRecord:
    """A run from its ``run.json``, of this version or an older one.

    Raises:
        ValueError: It is none.
        OSError: It cannot be read.
    """
    record = json.loads(path.read_text(encoding="utf-8"))
    try:
        steps = {
            name: StepRecord(
                **_known(step, StepRecord)
                | {"terms": read_terms(step["terms"]) if "terms" in step else _OF_OLD}
            )
            for name, step in record["steps"].items()
        }
        owner = record.get("owner") or record["inputs"].get("owner", "")
        return RunRecord(**_known(record, RunRecord) | {"steps": steps, "owner": owner})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no record of a run ({error})") from error


def _known(record: dict[str, Any], kind: Any) -> dict[str, Any]:
    """What a record has of a dataclass's fields: a newer one may have more."""
    names = {field.name for field in fields(kind)}
    return {key: value for key, value in record.items() if key in names}


def past_runs(folder: Path) -> Iterator[tuple[Path, RunRecord]]:
    """The runs and jobs below a folder ``.runs``, each with its own folder, the newest first.

    What cannot be read is passed over: a run may be beginning just now.
    """
    found: list[tuple[Path, RunRecord]] = []
    for path in (path for name in FOLDERS for path in folder.glob(f"{name}/*/{RECORD_NAME}")):
        if not path.parent.is_symlink():  # runs/latest is one of the others
            with suppress(OSError, ValueError):
                found.append((path.parent, read_run(path)))
    yield from sorted(found, key=lambda item: began(item[1].started), reverse=True)


def began(text: str) -> datetime:
    """When something began, from a record; the beginning of time if that does not say."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


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
