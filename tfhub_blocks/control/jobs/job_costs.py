"""Costs of jobs that another machine submitted, from the terms that the workspace recorded."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfhub_blocks.control.costs.ceilings import low_priority_attempts
from tfhub_blocks.control.costs.job_records import job_folder, keep_record, kept_record
from tfhub_blocks.control.costs.job_states import ENDED
from tfhub_blocks.control.costs.prices import Prices, Tier, load_prices
from tfhub_blocks.control.jobs.submitted_jobs import PROFILE_TAG, Job
from tfhub_blocks.control.project.profiles import SERVERLESS
from tfhub_blocks.control.project.run_records import RunRecord
from tfhub_blocks.control.project.run_terms import Terms
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError


def costed_record(job: Job, runs_dir: Path) -> RunRecord:
    """Return the current state of a job, with the terms of its steps.

    A job that was submitted from here has the terms and prices of that day. The terms of other
    jobs, such as a schedule's, are read from the workspace, at today's prices.

    Raises:
        BlocksError: The job does not exist, or the workspace did not answer.
    """
    record = job.record()
    if kept_record(job.name, runs_dir) is not None:
        return keep_record(record, runs_dir)
    return _priced(job, record, load_prices())


def collect(connection: Connection, runs_dir: Path) -> int:
    """Write a record of each tfhub-blocks job in the workspace; return the number that changed.

    Jobs that had ended at the last query are not queried again. New jobs count as changed.

    Raises:
        BlocksError: The workspace did not answer, or the file of prices is invalid.
    """
    prices, count = load_prices(), 0
    with told("cost", "the workspace's jobs"):
        found = [job.name for job in connection.client.jobs.list() if PROFILE_TAG in _tags(job)]
    for name in found:
        kept = kept_record(name, runs_dir)
        if kept is not None and kept.status in ENDED:
            continue
        count, job = count + 1, Job(connection, name)
        record = job.record()
        if kept is not None:
            keep_record(record, runs_dir)
        else:
            folder = str(job_folder(name, runs_dir).absolute())
            replace(_priced(job, record, prices), folder=folder).write()
    return count


def _tags(job: Any) -> Mapping[str, str]:
    return getattr(job, "tags", None) or {}


def _priced(job: Job, record: RunRecord, prices: Prices) -> RunRecord:
    """Return a record with the terms of its steps in the workspace, at today's prices."""
    with told("job", job.name):
        nodes = job.connection.client.jobs.get(job.name).jobs or {}
    for name, step in record.steps.items():
        step.terms = _terms(job.connection, nodes[name], prices)
    return replace(record, currency=prices.currency, prices_of=prices.day())


def _terms(connection: Connection, node: Any, prices: Prices) -> Terms:
    resources, limits = getattr(node, "resources", None), getattr(node, "limits", None)
    compute, place, idle_s = str(node.compute or "").rpartition("/")[2], None, 0
    size = str(getattr(resources, "instance_type", None) or "")
    queue = getattr(node, "queue_settings", None)
    is_low = str(getattr(queue, "job_tier", None) or "").casefold() == "spot"
    if compute != SERVERLESS:
        found = find("cost", f"compute {compute}", connection.client.compute.get, compute)
        size = str(getattr(found, "size", None) or "")
        is_low = str(getattr(found, "tier", None) or "").casefold().startswith("low")
        idle_s = int(getattr(found, "idle_time_before_scale_down", None) or 0)
        place = str(getattr(found, "location", None) or "") or None
    tier: Tier = "low_priority" if is_low else "dedicated"
    try:
        price = prices.price_per_hour(size, tier, place)
    except BlocksError:
        price = None
    return Terms(
        compute=compute,
        size=size,
        tier=tier,
        instances=int(getattr(resources, "instance_count", None) or 1),
        timeout_s=int(getattr(limits, "timeout", None) or 0),
        attempts=low_priority_attempts(None) if is_low else 1,
        idle_s=idle_s,
        price_per_hour=price,
    )
