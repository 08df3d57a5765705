"""The runs and jobs of a folder ``.runs`` as a table, with the tags that users set on them."""

# decision 115

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tfhub_blocks.control.project.run_records import FOLDERS, RECORD_NAME, RunRecord, past_runs
from tfhub_blocks.records.base.errors import BlocksError, nearest
from tfhub_blocks.records.base.folders import locked, write_file

TAGS_NAME = "tags.json"
_MOST_INPUT = 24
# The metric that a table shows; without it the first one.
_FIRST_METRIC = "accuracy"


@dataclass(frozen=True)
class ListedRun:
    """A run or a job, its folder, and the tags that users set on it."""

    folder: Path
    record: RunRecord
    tags: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the record with the tags, JSON-ready."""
        return {**self.record.as_dict(), "tags": dict(self.tags)}


def list_runs(
    runs_dir: Path, pipeline: str = "", status: str = "", tags: Mapping[str, str] | None = None
) -> list[ListedRun]:
    """Return the runs and jobs of a folder ``.runs`` that fit, the newest first.

    Args:
        runs_dir: The folder.
        pipeline: The name of the pipeline; empty for all.
        status: The status, in any case; empty for all.
        tags: Tags that a run must have.
    """
    found = (
        ListedRun(folder, record, read_tags(folder))
        for folder, record in past_runs(runs_dir)
        if pipeline in ("", record.pipeline) and status.lower() in ("", record.status.lower())
    )
    return [it for it in found if (tags or {}).items() <= it.tags.items()]


def find_run(runs_dir: Path, name: str, where: str) -> Path:
    """Return the folder of a run or a job.

    Raises:
        BlocksError: No run and no job has this name.
    """
    if "/" not in name:
        for kind in FOLDERS:
            if (runs_dir / kind / name / RECORD_NAME).is_file():
                return (runs_dir / kind / name).resolve()  # runs/latest is a link
    known = [path.name for kind in FOLDERS for path in (runs_dir / kind).glob("*")]
    raise BlocksError(
        where,
        name,
        f"no run in {runs_dir} is called {name!r}",
        "a name that `tfhub-blocks runs` lists",
        nearest(name, known) or "Run `tfhub-blocks runs`",
    )


def read_tags(folder: Path) -> dict[str, str]:
    """Return the tags of a run; none if the file is absent or damaged."""
    try:
        found = json.loads((folder / TAGS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(name): str(it) for name, it in found.items()} if isinstance(found, dict) else {}


def set_tags(folder: Path, tags: Mapping[str, str]) -> dict[str, str]:
    """Set tags of a run, and return all of its tags; an empty value removes a tag."""
    with locked(folder / f"{TAGS_NAME}.lock"):
        found = {name: it for name, it in {**read_tags(folder), **tags}.items() if it}
        write_file(folder / TAGS_NAME, json.dumps(found, indent=1, ensure_ascii=False).encode())
    return found


def run_lines(runs: Sequence[ListedRun]) -> Iterator[str]:
    """Yield a table of runs: name, status, time, reuse, and what tells them apart.

    Of the inputs, a row shows those that differ among the runs of its pipeline in the table.
    """
    differing = _differing(runs)
    rows = [("RUN", "STATUS", "SECONDS", "REUSED", "METRIC", "INPUTS AND TAGS")]
    for it in runs:
        record = it.record
        reused = sum(step.reused for step in record.steps.values())
        metric = (
            _FIRST_METRIC if _FIRST_METRIC in record.metrics else next(iter(record.metrics), "")
        )
        inputs = [
            f"{name}={_short(record.inputs[name])}"
            for name in differing[record.pipeline]
            if name in record.inputs
        ]
        tags = [f"[{name}={value}]" for name, value in it.tags.items()]
        rows.append(
            (
                record.run,
                record.status,
                f"{record.seconds:.1f}",
                f"{reused}/{len(record.steps)}",
                f"{metric} {record.metrics[metric]:.4g}" if metric else "",
                " ".join([*inputs, *tags]),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip()


def _differing(runs: Sequence[ListedRun]) -> dict[str, list[str]]:
    """Return the inputs whose values differ among the runs of each pipeline."""
    values: dict[str, dict[str, set[str]]] = {}
    counts: dict[str, int] = {}
    for it in runs:
        found = values.setdefault(it.record.pipeline, {})
        counts[it.record.pipeline] = counts.get(it.record.pipeline, 0) + 1
        for name, value in it.record.inputs.items():
            found.setdefault(name, set()).add(value)
    lacking = {
        (it.record.pipeline, name)
        for it in runs
        for name in values[it.record.pipeline].keys() - it.record.inputs.keys()
    }
    return {
        pipeline: [n for n, found in inputs.items() if len(found) > 1 or (pipeline, n) in lacking]
        for pipeline, inputs in values.items()
    }


def _short(value: str) -> str:
    """Return a value as a table shows it: of a path, its last part."""
    text = Path(value).name if value.startswith("/") else value
    return text if len(text) <= _MOST_INPUT else f"{text[: _MOST_INPUT - 1]}…"
