"""A job's outputs: tagged with their digests, and compared with those of a local run."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tfhub_blocks.control.jobs.submitted_jobs import Job
from tfhub_blocks.control.project.assets import DIGEST_TAG, VERSION_DIGITS
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.project.run_records import METRICS_NAME, read_metrics
from tfhub_blocks.control.project.run_requests import pipeline_ports
from tfhub_blocks.control.project.step_graph import unquoted_text
from tfhub_blocks.control.repository.catalog import MODEL_TYPES
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.owners import owner_of
from tfhub_blocks.records.base.errors import BlocksError, nearest

ABSENT = "-"


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


@dataclass(frozen=True)
class ComparedOutput:
    """A value of a local run next to the job's; ``-`` where one of the two has none."""

    kind: str
    name: str
    here: str
    there: str

    @property
    def is_same(self) -> bool:
        """True if the run and the job have the same value."""
        return self.here == self.there

    def __str__(self) -> str:
        """Return the comparison as a line of a table."""
        verdict = "same" if self.is_same else "differs"
        return f"{verdict:<8} {self.kind:<8} {self.name:<30} {self.here:<14} {self.there}"


def compare(job: Job, downloads: Path, run_folder: Path) -> list[ComparedOutput]:
    """Return the inputs that differ, each output by the digest of its content, and each metric.

    Args:
        job: The job, which has ended.
        downloads: The folder for its outputs.
        run_folder: The run's folder, which contains ``run.json``.

    Raises:
        BlocksError: The run does not exist, or the job's outputs cannot be downloaded.
    """
    record = _read_run(run_folder)
    there = {name: job.download(name, kind, downloads) for name, kind in job.outputs().items()}
    here = {name: Path(path) for name, path in record["outputs"].items()}
    measured: dict[str, float] = {}
    for path in there.values():
        measured |= read_metrics(path / METRICS_NAME)
    with told("compare", job.name):
        inputs = job.connection.client.jobs.get(job.name).inputs
    given = {name: _input_text(value) for name, value in (inputs or {}).items()}
    defaults = {
        name: str(port.default)
        for name, port in pipeline_ports(record["pipeline"]).items()
        if port.default is not None
    }
    return [
        *(r for r in _rows("input", defaults | record["inputs"], given) if not r.is_same),
        *_rows("output", _digests(here), _digests(there)),
        *_rows("metric", _texts(record["metrics"]), _texts(measured)),
    ]


def _read_run(folder: Path) -> dict[str, Any]:
    if not (folder / "run.json").is_file():
        known = [path.parent.name for path in folder.parent.glob("*/run.json")]
        raise BlocksError(
            "compare",
            folder.name,
            f"run {folder.name} does not exist locally",
            f"a run in {folder.parent}",
            nearest(folder.name, known) or "Run the pipeline locally with `tfhub-blocks run`",
        )
    record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    return record


def _rows(kind: str, here: Mapping[str, str], there: Mapping[str, str]) -> Iterator[ComparedOutput]:
    for name in sorted(here.keys() | there.keys()):
        yield ComparedOutput(kind, name, here.get(name, ABSENT), there.get(name, ABSENT))


def _digests(paths: Mapping[str, Path]) -> dict[str, str]:
    return {name: content_digest(path)[:VERSION_DIGITS] for name, path in paths.items()}


def _texts(metrics: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{value:.6g}" for name, value in metrics.items()}


def _input_text(value: Any) -> str:
    given = getattr(value, "_data", value)
    return unquoted_text(str(getattr(given, "path", given)))
