"""Jobs of a workspace of Azure ML as objects, with the calls of local runs."""

# decision 103

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfhub_blocks.control.jobs.submission import SubmissionRequest, prepare_made, submit
from tfhub_blocks.control.jobs.submitted_jobs import Job
from tfhub_blocks.control.local.run_display import live_table
from tfhub_blocks.control.project.profiles import Profile, load_profile
from tfhub_blocks.control.project.run_records import COMPLETED, RunRecord
from tfhub_blocks.control.workspace.connection import Connection, connect
from tfhub_blocks.interactive.called_pipelines import read_call
from tfhub_blocks.interactive.job_views import Explanation, StepView
from tfhub_blocks.interactive.output_values import OutputValue
from tfhub_blocks.records.base.errors import BlocksError

_RUNS_DIR = Path(".runs")


class WorkspaceClient:
    """A client that submits pipelines to a workspace, as a profile states."""

    def __init__(self, profile: str, config: Path | None) -> None:
        self.jobs = WorkspaceJobs(load_profile(profile), config)


class WorkspaceJobs:
    """The jobs of a workspace."""

    def __init__(self, profile: Profile, config: Path | None) -> None:
        self._profile, self._config = profile, config
        self._found: Connection | None = None

    @property
    def _connection(self) -> Connection:
        if self._found is None:
            self._found = connect(self._config)
        return self._found

    def create_or_update(self, job: Any, *, reuse: bool = True) -> "WorkspaceJob":
        """Submit a pipeline, and return its job.

        Args:
            job: The pipeline, called with its inputs.
            reuse: False to run every step, even if its output is cached.

        Raises:
            BlocksError: The pipeline, an input or the profile contains mistakes, or the workspace
                lacks an asset or a cluster. Nothing has been submitted.
        """
        self._profile.refuse_unlocked("jobs.create_or_update", "the pipeline")
        name, graph, given = read_call(job, self._profile)
        request = SubmissionRequest(name, (), {}, reuse)
        prepared = prepare_made(self._connection, request, self._profile, job, graph, given)
        made = submit(self._connection, prepared, _RUNS_DIR)
        return WorkspaceJob(Job(self._connection, made.name, is_new=True))

    def get(self, name: str) -> "WorkspaceJob":
        """Return an earlier job.

        Raises:
            BlocksError: The job does not exist.
        """
        found = WorkspaceJob(Job(self._connection, name))
        found.record  # noqa: B018  # a job that does not exist is found now
        return found


class WorkspaceJob:
    """A job of Azure ML."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def name(self) -> str:
        """The name of the job."""
        return self._job.name

    @property
    def record(self) -> RunRecord:
        """The state of the job at this moment."""
        return self._job.record()

    @property
    def status(self) -> str:
        """The status of the job."""
        return self.record.status

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the outputs, by name; the outputs are downloaded."""
        from tfhub_blocks.control.project.run_records import METRICS_NAME, read_metrics

        found: dict[str, float] = {}
        for output in self.outputs.values():
            found |= read_metrics(output.path / METRICS_NAME)
        return found

    @property
    def steps(self) -> dict[str, "WorkspaceStep"]:
        """The steps by name."""
        return {name: WorkspaceStep(name, it, self._job) for name, it in self.record.steps.items()}

    @property
    def outputs(self) -> Mapping[str, OutputValue]:
        """The outputs by name; each is downloaded when this is read first."""
        record, folder = self.record, _RUNS_DIR / "downloads" / self.name
        return {
            name: OutputValue(name, self._job.download(name, kind, folder), record)
            for name, kind in self._job.outputs().items()
        }

    def wait(self) -> "WorkspaceJob":
        """Wait until the job ends, and show its progress. After Ctrl-C the job goes on.

        Raises:
            BlocksError: The job did not complete.
        """
        import sys

        with live_table(sys.stdout) as on_change:
            record = self._job.wait(on_change)
        if record.status != COMPLETED:
            failed = [f"step {name}: {it.error}" for name, it in record.steps.items() if it.error]
            problem = "; ".join(failed) or f"the job is {record.status}"
            remedy = f"Run `tfhub-blocks logs {self.name}`"
            raise BlocksError("wait", self.name, problem, "", remedy)
        return self

    def cancel(self) -> None:
        """Cancel the job.

        Raises:
            BlocksError: The job cannot be canceled.
        """
        self._job.cancel()

    def explain(self) -> Explanation:
        """Return a sentence for each step: whether Azure ML reused it."""
        return Explanation(
            {
                name: "reused by Azure ML" if step.reused else f"ran: {step.status}"
                for name, step in self.record.steps.items()
            }
        )

    def __repr__(self) -> str:
        """Return the name of the job."""
        return f"<{self.name}>"

    def _repr_html_(self) -> str:
        from tfhub_blocks.interactive.job_page import job_page

        return job_page(self.record)


class WorkspaceStep(StepView):
    """One step of a job of Azure ML."""

    def __init__(self, name: str, record: Any, job: Job) -> None:
        super().__init__(name, record)
        object.__setattr__(self, "_job", job)

    @property
    def log(self) -> str:
        """The log of the step."""
        job: Job = self._job  # type: ignore[attr-defined]
        return "\n".join(text for _, text in job.logs([self.name]))
