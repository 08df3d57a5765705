"""Submitted jobs: their progress, logs and outputs, and their cancellation."""

import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient

from tfhub_blocks.control.costs.job_states import ENDED
from tfhub_blocks.control.project.run_records import RUNNING, RunRecord, StepRecord
from tfhub_blocks.control.repository.catalog import MODEL_TYPES
from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection, poll_interval_s
from tfhub_blocks.control.workspace.output_files import fetch_files, output_address
from tfhub_blocks.control.workspace.patience import patiently
from tfhub_blocks.records.base.errors import ERROR_PREFIX, BlocksError, nearest
from tfhub_blocks.records.base.redaction import redacted
from tfhub_blocks.records.base.step_messages import PROGRESS_PREFIX

# A step on several nodes has a log for each process.
_LOG_NAME = re.compile(r"user_logs/std_log(?:_process_(\d+))?\.txt")
_TAIL_BYTES = 4096
PROFILE_TAG = "tfhub_blocks.profile"
PIPELINE_TAG = "tfhub_blocks.pipeline"


@dataclass(frozen=True)
class Job:
    """A job in the workspace; ``is_new`` if the job was created just now."""

    connection: Connection
    name: str
    is_new: bool = False

    def record(self) -> RunRecord:
        """Return the current state, step by step, in the form of a local run's record.

        Raises:
            BlocksError: The job does not exist, or the workspace did not answer.
        """
        return self._record(self.runs())

    def wait(self, on_change: Callable[[RunRecord], None]) -> RunRecord:
        """Wait for the end, reporting each change and the progress of running steps.

        Raises:
            BlocksError: The workspace did not answer.
        """
        started = time.monotonic()
        while True:
            runs = self.runs()
            record = self._record(runs)
            for name, step in record.steps.items():
                if step.status == RUNNING:
                    step.progress = self._progress(runs[name].run_id)
            record.seconds = time.monotonic() - started
            on_change(record)
            if record.status in ENDED:
                return record
            time.sleep(poll_interval_s())

    def _record(self, runs: Mapping[str, Any]) -> RunRecord:
        with told("job", self.name):
            job = patiently(lambda: self.connection.client.jobs.get(self.name), self.is_new)
        tags = job.tags or {}
        # A step that has not started yet has no run.
        steps = {
            name: _step(_component_name(str(node.component)), runs.get(name))
            for name, node in (job.jobs or {}).items()
        }
        context = job.creation_context
        return RunRecord(
            run=self.name,
            # Azure writes display names of its own, such as a schedule's with its time.
            pipeline=tags.get(PIPELINE_TAG) or job.display_name or "",
            profile=tags.get(PROFILE_TAG, ""),
            folder="",
            started=str(context.created_at or "") if context else "",
            inputs={},
            steps=steps,
            status=str(getattr(job.status, "value", job.status)),  # an enumeration or text
            tracking_uri=job.studio_url or "",
            owner=tags.get("owner", ""),
            cost_centre=tags.get("cost_centre", ""),
            started_by=[str(context.created_by)] if context and context.created_by else [],
        )

    def cancel(self) -> None:
        """Request the cancellation, and wait until Azure ML has accepted the request.

        Raises:
            BlocksError: The job does not exist, or cannot be cancelled.
        """
        with told("cancel", self.name):
            self.connection.client.jobs.begin_cancel(self.name).result()

    def logs(self, steps: list[str]) -> Iterator[tuple[str, str]]:
        """Yield the log of each named step, or of all, without secrets.

        A step on several nodes has one log for each worker. Steps without a log are skipped.

        Raises:
            BlocksError: The job or a step does not exist.
        """
        runs = self.runs()
        for name in steps:
            if name not in runs:
                raise BlocksError(
                    "logs",
                    name,
                    f"job {self.name} has no started step {name!r}",
                    "one of " + ", ".join(runs),
                    nearest(name, runs) or f"Run `tfhub-blocks logs {self.name} STEP`",
                )
        for name in steps or runs:
            with told("logs", f"{self.name} > {name}"):
                addresses = self._log_addresses(runs[name].run_id)
                texts = {index: _read(address) for index, address in addresses.items()}
            for index, text in texts.items():
                if text:
                    yield f"{name}, worker {index}" if len(texts) > 1 else name, text

    def outputs(self) -> dict[str, str]:
        """Return the type of each named output.

        Raises:
            BlocksError: The job does not exist.
        """
        with told("download", self.name):
            found = self.connection.client.jobs.get(self.name).outputs or {}
        return {name: output.type for name, output in found.items() if name != "default"}

    def download(self, name: str, kind: str, folder: Path) -> Path:
        """Download an output into ``folder/NAME``; the folder is complete or absent.

        An existing download is kept.

        Args:
            name: The output's name.
            kind: The output's type, from ``outputs``.
            folder: The parent folder.

        Raises:
            BlocksError: The job has not ended, or its output is not in storage.
        """
        target = folder / name
        if target.exists():
            return target
        scratch = folder / f".{name}.partial"
        shutil.rmtree(scratch, ignore_errors=True)
        found = scratch / "named-outputs" / name
        with told("download", f"{self.name} > {name}"):
            jobs = self.connection.client.jobs
            if kind in MODEL_TYPES:
                if address := output_address(jobs, self.name, name):
                    fetch_files(jobs, address, found)
            else:
                jobs.download(self.name, output_name=name, download_path=scratch)
        if not found.exists():
            raise BlocksError(
                "download",
                f"{self.name} > {name}",
                f"output {name} is not in storage",
                "an output that its step wrote",
                f"Run `tfhub-blocks status {self.name}`; the step may have failed",
            )
        # The SDK puts a single file into a separate folder.
        inside = [path for path in found.rglob("*") if path.is_file()]
        (inside[0] if kind == "uri_file" and len(inside) == 1 else found).rename(target)
        shutil.rmtree(scratch)
        return target

    def runs(self) -> dict[str, Any]:
        """Return the run history's entry of each step that started, by its name in the pipeline.

        Raises:
            BlocksError: The job does not exist, or the workspace did not answer.
        """
        history = self.connection.client.jobs._runs_operations
        scope = (history._subscription_id, history._resource_group_name, history._workspace_name)
        with told("job", self.name):
            found = patiently(
                lambda: list(history._operation.get_child(*scope, self.name)), self.is_new
            )
        runs = sorted(found, key=lambda run: str(run.created_utc))
        return {run.display_name: run for run in runs}

    def _log_addresses(self, run_id: str) -> dict[int, str]:
        """Return the log address of each worker of a step, the first worker first."""
        details = self.connection.client.jobs._runs_operations.get_run_details(run_id)
        found = ((_LOG_NAME.fullmatch(name), at) for name, at in (details.log_files or {}).items())
        return dict(sorted((int(match[1] or 0), at) for match, at in found if match))

    def _progress(self, run_id: str) -> str:
        """Return the last progress line in a step's log, or an empty text."""
        lines: list[str] = []
        with suppress(HttpResponseError):  # Azure ML may be replacing an empty log
            for address in list(self._log_addresses(run_id).values())[:1]:
                lines = _read(address, _TAIL_BYTES).splitlines()
        found = [line for line in lines if line.startswith(PROGRESS_PREFIX)]
        return found[-1].removeprefix(PROGRESS_PREFIX) if found else ""


def _read(address: str, last_bytes: int | None = None) -> str:
    """Return a log without secrets, or only its end."""
    blob = BlobClient.from_blob_url(address)
    offset = 0
    if last_bytes is not None:
        offset = max(0, blob.get_blob_properties().size - last_bytes)
    return redacted(blob.download_blob(offset=offset).readall().decode(errors="replace"))


def _component_name(reference: str) -> str:
    """Return the name in a component's id, such as ``.../components/NAME/versions/VERSION``."""
    return reference.partition("/components/")[2].partition("/")[0] or reference


def _step(component: str, run: Any) -> StepRecord:
    if run is None:
        return StepRecord(component)
    started, ended = run.start_time_utc, run.end_time_utc
    error = run.error.error.message if run.error and run.error.error else ""
    return StepRecord(
        component,
        status=run.status,
        reused=(run.properties or {}).get("azureml.isreused") == "true",
        seconds=((ended or datetime.now(UTC)) - started).total_seconds() if started else 0.0,
        started=started.isoformat(timespec="seconds") if started else "",
        error=redacted(str(error or "")).removeprefix(ERROR_PREFIX),
    )
