"""A job's outputs: tagged with their digests, and as one side of a comparison."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfhub_blocks.control.jobs.submitted_jobs import Job
from tfhub_blocks.control.project.assets import DIGEST_TAG
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.project.run_comparison import ComparedRun
from tfhub_blocks.control.project.run_records import METRICS_NAME, read_metrics
from tfhub_blocks.control.project.run_requests import pipeline_ports
from tfhub_blocks.control.project.step_graph import unquoted_text
from tfhub_blocks.control.repository.catalog import MODEL_TYPES
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.owners import owner_of


def tag_outputs(job: Job) -> None:
    """Tag each asset that a job registered with the digest of its content, and with its owner.

    Azure ML registers outputs itself, before their digests are known, so the tags come afterwards.
    An asset that has its tag already costs one request.

    Raises:
        BlocksError: Azure refused a request.
    """
    client = job.connection.client
    with told("job", job.name):
        found = client.jobs.get(job.name)
        outputs, owner = found.outputs or {}, owner_of(found.tags)
    for name, output in outputs.items():
        if not output.name:
            continue
        operations = client.models if output.type in MODEL_TYPES else client.data
        with told("job", f"{job.name} > {name}"):
            asset = _registered(operations, output)
            if asset is None or DIGEST_TAG in (asset.tags or {}):
                continue
            with TemporaryDirectory() as scratch:
                digest = content_digest(job.download(name, output.type, Path(scratch)))
            asset.tags = {**(asset.tags or {}), DIGEST_TAG: digest, "tfhub_blocks.job": job.name}
            if owner:
                asset.tags["owner"] = owner
            operations.create_or_update(asset)


def _registered(operations: Any, output: Any) -> Any:
    """Return the asset that a job's output became; None if it does not exist."""
    if output.version:
        return operations.get(output.name, output.version)
    # A schedule's job leaves the version to Azure ML.
    place = str(output.path).rstrip("/")
    found = (asset for asset in operations.list(output.name) if place in str(asset.path))
    return next(found, None)


def compared_job(job: Job, downloads: Path) -> ComparedRun:
    """Return a job for a comparison, with its outputs in a local folder.

    Args:
        job: The job, which has ended.
        downloads: The folder for its outputs.

    Raises:
        BlocksError: The job's outputs cannot be downloaded.
    """
    outputs = {name: job.download(name, kind, downloads) for name, kind in job.outputs().items()}
    metrics: dict[str, float] = {}
    for path in outputs.values():
        metrics |= read_metrics(path / METRICS_NAME)
    with told("compare", job.name):
        inputs = job.connection.client.jobs.get(job.name).inputs
    given = {name: _input_text(value) for name, value in (inputs or {}).items()}
    return ComparedRun(job.name, given, outputs, metrics)


def input_defaults(pipeline: str) -> dict[str, str]:
    """Return the default of each input of a pipeline of this project, as text."""
    ports = pipeline_ports(pipeline).items()
    return {name: str(port.default) for name, port in ports if port.default is not None}


def _input_text(value: Any) -> str:
    given = getattr(value, "_data", value)
    return unquoted_text(str(getattr(given, "path", given)))
