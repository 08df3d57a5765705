"""The records of jobs submitted to Azure ML from here: ``.runs/jobs/NAME/run.json``."""

# decision 27

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tfhub_blocks.control.costs.ceilings import step_terms
from tfhub_blocks.control.costs.duration_forecast import Past
from tfhub_blocks.control.costs.prices import Prices, load_prices
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_records import (
    NOT_STARTED,
    RECORD_NAME,
    RunRecord,
    StepRecord,
    read_run,
)
from tfhub_blocks.control.project.run_terms import Terms
from tfhub_blocks.control.project.step_graph import Graph, Node
from tfhub_blocks.control.repository.people import local_names
from tfhub_blocks.records.base.errors import BlocksError


@dataclass(frozen=True)
class JobCosts:
    """The basis of a job's costs: its steps, its profile, and the cache keys of its steps."""

    graph: Graph
    profile: Profile
    keys: Mapping[str, str]


def begin_record(name: str, costs: JobCosts, runs_dir: Path) -> None:
    """Write the record of a new job, with the terms of its steps and today's known prices.

    Args:
        name: The job's name.
        costs: The job's steps and profile.
        runs_dir: ``.runs``.
    """
    prices, past = known_prices(), Past.of(runs_dir)
    graph, profile, job = costs.graph, costs.profile, costs.profile.job
    RunRecord(
        run=name,
        pipeline=graph.name,
        profile=profile.name,
        folder=str(job_folder(name, runs_dir).absolute()),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        inputs={},
        steps={
            step: StepRecord(
                node.component,
                terms=past.expected(node.component, _terms(node, profile, prices)),
                key=costs.keys.get(step, ""),
            )
            for step, node in graph.nodes.items()
        },
        status=NOT_STARTED,
        owner=job.owner if job else "",
        cost_centre=job.cost_centre if job else "",
        currency=prices.currency if prices else "",
        prices_of=prices.day() if prices else "",
        started_by=list(local_names()),
    ).write()


def keep_record(record: RunRecord, runs_dir: Path) -> RunRecord:
    """Merge a job's state on Azure ML with the terms in its local record, and write the result.

    A job that was not submitted from here is returned unchanged.
    """
    kept = kept_record(record.run, runs_dir)
    if kept is None:
        return record
    steps = dict(kept.steps)
    for name, step in record.steps.items():
        if name in steps:
            it = steps[name]
            steps[name] = replace(step, component=it.component, terms=it.terms, key=it.key)
    merged = replace(kept, steps=steps, status=record.status, tracking_uri=record.tracking_uri)
    merged.write()
    return merged


def kept_record(name: str, runs_dir: Path) -> RunRecord | None:
    """Return the local record of a job, or None if the job was not submitted from here."""
    try:
        return read_run(job_folder(name, runs_dir) / RECORD_NAME)
    except (OSError, ValueError):
        return None


def known_prices() -> Prices | None:
    """Return the prices in force; None if their file is missing or invalid."""
    try:
        return load_prices()
    except BlocksError:
        return None


def _terms(node: Node, profile: Profile, prices: Prices | None) -> Terms:
    """Return the terms of a step, without a price if none is known."""
    try:
        return step_terms(node, profile, prices)
    except BlocksError:
        return step_terms(node, profile, None)


def job_folder(name: str, runs_dir: Path) -> Path:
    """Return the folder of a job's record."""
    return runs_dir / "jobs" / name
