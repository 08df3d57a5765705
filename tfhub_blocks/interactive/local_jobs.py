"""Runs of this machine as objects: started, awaited, canceled, and read."""

# decision 103

import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.lineage.withdrawn_outputs import refuse_withdrawn_inputs
from tfhub_blocks.control.local.local_engine import LocalEngine
from tfhub_blocks.control.project.interrupted_runs import settle_run
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.reuse_reasons import reuse_reasons
from tfhub_blocks.control.project.run_records import (
    CANCELED,
    COMPLETED,
    FINAL,
    INTERRUPTED,
    RunRecord,
    past_runs,
)
from tfhub_blocks.control.project.step_graph import Graph
from tfhub_blocks.interactive.called_pipelines import read_call
from tfhub_blocks.interactive.job_views import Explanation, StepView, show_progress
from tfhub_blocks.interactive.output_values import OutputValue
from tfhub_blocks.records.base.errors import BlocksError

_POLL_S = 0.2
_ENDINGS = {CANCELED: "was canceled", INTERRUPTED: "ended when its process was killed"}


class LocalJob:
    """A run on this machine; it goes on in the background, or in another process.

    The attributes show the state at the moment when they are read.
    """

    def __init__(self, record: RunRecord, runs_dir: Path) -> None:
        self._record = record
        self._runs_dir = runs_dir
        self._thread: threading.Thread | None = None
        self._canceled = threading.Event()
        self._error: BaseException | None = None

    @property
    def record(self) -> RunRecord:
        """The state of the run at this moment; a run of another process is read from its folder."""
        if self._thread is None and self._record.status not in FINAL:
            self._record = settle_run(self._runs_dir, self._runs_dir / "runs" / self.name)
        return self._record

    @property
    def name(self) -> str:
        """The name of the run."""
        return self._record.run

    @property
    def status(self) -> str:
        """The status of the run, in the words of Azure ML."""
        return self.record.status

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of all steps, by name."""
        return dict(self.record.metrics)

    @property
    def steps(self) -> dict[str, StepView]:
        """The steps by name, in the order in which they can run."""
        return {name: StepView(name, step) for name, step in self.record.steps.items()}

    @property
    def outputs(self) -> Mapping[str, OutputValue]:
        """The outputs of the pipeline by name, as far as they exist."""
        return {
            name: OutputValue(name, Path(path), self.record)
            for name, path in self.record.outputs.items()
        }

    def wait(self) -> "LocalJob":
        """Wait until the run ends, and show its progress.

        Ctrl-C, or the stop button of a notebook, ends the run; the next run of the same pipeline
        continues from its finished steps.

        Raises:
            BlocksError: A step failed, or the run was canceled.
        """
        try:
            if self._thread is not None or not self._has_ended():
                show_progress(self, self._has_ended, _POLL_S)
        except KeyboardInterrupt:
            if self._thread is None:  # the run goes on in its own process
                raise
            self.cancel()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error
        self._refuse_unfinished()
        return self

    def _refuse_unfinished(self) -> None:
        """Raise the error of a run that ended without its outputs."""
        failed = [(name, it) for name, it in self.record.steps.items() if it.error]
        if failed:
            name, step = failed[0]
            raise BlocksError(
                self.name,
                name,
                step.error,
                "",
                f"Read the log with job.steps[{name!r}].log, and run the pipeline again",
            )
        if self.status != COMPLETED:
            raise BlocksError(
                self.name,
                self.status,
                f"run {self.name} {_ENDINGS.get(self.status, 'failed')}",
                "",
                "Create the job again; it continues from the finished steps",
            )

    def cancel(self) -> None:
        """End the run: running steps are stopped, and no step starts.

        Raises:
            BlocksError: The run goes on in another process.
        """
        if self._thread is None and not self._has_ended():
            raise BlocksError(
                "cancel",
                self.name,
                f"run {self.name} belongs to another process",
                "a run that this process started",
                "Press Ctrl-C in the terminal or notebook that started it",
            )
        self._canceled.set()

    def explain(self) -> Explanation:
        """Return a sentence for each step: why it was reused, or why it ran."""
        earlier = [
            record
            for _, record in past_runs(self._runs_dir)
            if record.run != self.name and record.started <= self.record.started
        ]
        return Explanation(reuse_reasons(self.record, earlier))

    def __repr__(self) -> str:
        """Return the name and the status."""
        return f"<{self.name}: {self.status}>"

    def _repr_html_(self) -> str:
        from tfhub_blocks.interactive.job_page import job_page

        return job_page(self.record)

    def _has_ended(self) -> bool:
        if self._thread is None:
            return self.record.status in FINAL
        return not self._thread.is_alive()

    def _start(self, engine: LocalEngine, graph: Graph, stack: ExitStack) -> None:
        engine.canceled = self._canceled

        def run() -> None:
            with stack:
                try:
                    engine.finished(graph, self._record)
                except BaseException as error:
                    self._error = error

        self._thread = threading.Thread(target=run, name=self.name)
        self._thread.start()


def start_run(job: Any, profile: Profile, runs_dir: Path, reuse: bool) -> LocalJob:
    """Start a run of a called pipeline in the background.

    Raises:
        BlocksError: The pipeline or an input contains mistakes. Nothing has run.
    """
    _, graph, given = read_call(job, profile)
    refuse_withdrawn_inputs("run", graph, Archive(runs_dir))
    engine = LocalEngine(runs_dir, profile, reuse=reuse)
    with ExitStack() as stack:
        record = stack.enter_context(engine.started(graph, given))
        started = LocalJob(record, engine.folder)
        started._start(engine, graph, stack.pop_all())
    return started


def open_run(runs_dir: Path, name: str) -> LocalJob:
    """Return a run that exists on the disk."""
    folder = runs_dir.absolute()
    return LocalJob(settle_run(folder, folder / "runs" / name), folder)
