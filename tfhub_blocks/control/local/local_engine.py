"""The local engine: runs a pipeline job locally, by the rules of Azure ML."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tfhub_blocks.control.costs.ceilings import ceiling
from tfhub_blocks.control.costs.duration_forecast import Past
from tfhub_blocks.control.local.step_maker import StepMaker
from tfhub_blocks.control.project.instance_counts import instance_count
from tfhub_blocks.control.project.interrupted_runs import settle_runs
from tfhub_blocks.control.project.output_store import Store, Stored
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.reachable_thresholds import (
    check_given_snapshots,
    check_reachable,
    gates,
)
from tfhub_blocks.control.project.run_folders import check_folder_name, sqlite_uri
from tfhub_blocks.control.project.run_records import (
    CANCELED,
    COMPLETED,
    FAILED,
    METRICS_NAME,
    NOT_STARTED,
    RUNNING,
    RunRecord,
    StepRecord,
    held_run,
    new_run_name,
    read_metrics,
)
from tfhub_blocks.control.project.run_terms import Terms
from tfhub_blocks.control.project.step_graph import Graph, Node, OutputOf, told_inputs
from tfhub_blocks.control.project.tracking_store import (
    DATABASE_NAME,
    end_killed_runs,
    prepare_tracking,
    tracking_variables,
)
from tfhub_blocks.control.project.withdrawal_files import read_withdrawals
from tfhub_blocks.control.repository.people import local_names
from tfhub_blocks.records.base.errors import BlocksError


@dataclass
class LocalEngine:
    """An engine that runs graphs below one folder.

    ``store/`` contains outputs by content, ``runs/`` a folder for each run, ``mlflow.db`` and
    ``mlflow/`` the tracking data and models of the steps. Once ``canceled`` is set, the run ends as
    by Ctrl-C.
    """

    folder: Path
    profile: Profile
    on_change: Callable[[RunRecord], None] = lambda _: None
    reuse: bool = True
    canceled: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()
        check_folder_name("run", "--runs-dir", self.folder)

    @property
    def tracking_uri(self) -> str:
        """The URI of the local MLflow store."""
        return sqlite_uri(self.folder / DATABASE_NAME)

    def run(self, graph: Graph, given: Mapping[str, Any]) -> RunRecord:
        """Run a graph to its end.

        Independent steps run in parallel. A step that already ran with the same code, environment,
        inputs and parameters is reused. After a failure no new step starts, and running steps
        finish, so that they can be reused.

        Returns:
            The record, with a final status: Completed, Failed, or Canceled by an interrupt.
        """
        with self.started(graph, given) as record:
            return self.finished(graph, record)

    @contextmanager
    def started(self, graph: Graph, given: Mapping[str, Any]) -> Iterator[RunRecord]:
        """Create a run and copy the code of its steps; the run is alive inside this context.

        Raises:
            BlocksError: The profile lacks a role, or the folder of the runs cannot be written.
        """
        check_given_snapshots(graph, "run")
        name = self._begin(graph)
        with held_run(self.folder / "runs" / name):
            yield self._record(name, graph, given)

    def finished(self, graph: Graph, record: RunRecord) -> RunRecord:
        """Run the steps of a started run to the end, in any thread; return its record."""
        started = time.monotonic()
        made: dict[str, Stored] = {}
        try:
            self._run_steps(graph, record, made, started)
            ended_well = all(step.status == COMPLETED for step in record.steps.values())
            record.status = COMPLETED if ended_well else FAILED
        except BaseException as error:
            record.status = CANCELED if isinstance(error, KeyboardInterrupt) else FAILED
            for step in record.steps.values():
                if step.status == RUNNING:
                    step.status = record.status
            if record.status == FAILED:  # an internal error, or a closed standard output
                record.write()
                raise
        record.seconds = time.monotonic() - started
        self._finish(graph, record, made)
        return record

    def _run_steps(
        self, graph: Graph, record: RunRecord, made: dict[str, Stored], started: float
    ) -> None:
        running: dict[Future[Stored | None], str] = {}
        most = self.profile.max_parallel_steps
        maker = self._maker(record)
        with ThreadPoolExecutor(most) as pool:
            try:
                while True:
                    if self.canceled.is_set():
                        raise KeyboardInterrupt
                    # No step waits in the pool, because it would start even after a failure.
                    starting = _ready(graph, record, made)[: most - len(running)]
                    for node in starting:
                        step, folder = record.steps[node.name], _step_folder(record, node)
                        step.status = RUNNING
                        future = pool.submit(maker.make, node, dict(made), folder, step)
                        running[future] = node.name
                    if starting:  # so that a killed run states what was running
                        record.write()
                    if not running:
                        break
                    done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                    for future in done:
                        name = running.pop(future)
                        if stored := future.result():
                            made[name] = stored
                            _refuse_unreachable(graph, record, name, stored)
                        record.write()
                    record.seconds = time.monotonic() - started
                    self.on_change(record)
            except BaseException:
                maker.interrupt()
                raise

    def _maker(self, record: RunRecord) -> StepMaker:
        variables = tracking_variables(self.folder, record.pipeline, record.run)
        store = Store(self.folder / "store")
        statements = read_withdrawals("run")
        return StepMaker(record.run, store, self.profile, variables, self.reuse, statements)

    def _begin(self, graph: Graph) -> str:
        """Return the name of a new run, whose folder and database exist."""
        self._check_roles(graph)
        runs = self.folder / "runs"
        try:
            name = new_run_name(graph.name, runs)
            prepare_tracking(self.folder, graph.name, "run")
            settle_runs(self.folder)
        except OSError as error:
            raise BlocksError(
                "run",
                "--runs-dir",
                f"folder {runs} cannot be written ({error})",
                "a folder to write into",
                "Pass another folder with --runs-dir",
            ) from error
        return name

    def _record(self, name: str, graph: Graph, given: Mapping[str, Any]) -> RunRecord:
        runs = self.folder / "runs"
        record = RunRecord(
            run=name,
            pipeline=graph.name,
            profile=self.profile.name,
            folder=str(runs / name),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            inputs={key: str(value) for key, value in given.items()},
            steps={
                name: StepRecord(
                    graph.nodes[name].component,
                    terms=terms,
                    inputs=told_inputs(graph.nodes[name]),
                )
                for name, terms in self._terms(graph).items()
            },
            tracking_uri=self.tracking_uri,
            owner=str(given.get("owner") or self.profile.inputs.get("owner", "")),
            started_by=list(local_names()),
        )
        record.write()
        # All code is copied now, as Azure ML does at submission: a later edit does not change this
        # run.
        for node in graph.nodes.values():
            folder = _step_folder(record, node)
            folder.mkdir(parents=True)
            node.write_code(folder / "code")
        return record

    def _terms(self, graph: Graph) -> dict[str, Terms]:
        past = Past.of(self.folder)
        found = ceiling(graph, self.profile, None).steps.items()
        return {name: past.expected(graph.nodes[name].component, terms) for name, terms in found}

    def _check_roles(self, graph: Graph) -> None:
        for node in graph.nodes.values():
            instance_count(node, self.profile)

    def _finish(self, graph: Graph, record: RunRecord, made: Mapping[str, Stored]) -> None:
        shelf = Path(record.folder) / "outputs"
        shelf.mkdir()
        for name, source in graph.outputs.items():
            if source.node in made:
                _put(made[source.node].outputs[source.port], shelf / name)
                record.outputs[name] = str(shelf / name)
        for stored in made.values():
            for path in stored.outputs.values():
                record.metrics |= read_metrics(path / METRICS_NAME)
        end_killed_runs(self.folder, record.run)  # of steps that ended without a word to MLflow
        record.write()
        # A rename, because another run may replace the link at the same time.
        link = Path(record.folder) / "latest"
        link.symlink_to(record.run)
        link.replace(self.folder / "runs" / "latest")
        self.on_change(record)


def _refuse_unreachable(graph: Graph, record: RunRecord, made: str, stored: Stored) -> None:
    """Fail each gate whose thresholds cannot be reached with a snapshot that a step has made."""
    for node, source in gates(graph):
        if isinstance(source, OutputOf) and source.node == made:
            try:
                check_reachable(node, stored.outputs[source.port], "run")
            except BlocksError as error:
                step = record.steps[node.name]
                step.status, step.error = FAILED, str(error)


def _step_folder(record: RunRecord, node: Node) -> Path:
    return Path(record.folder) / "steps" / node.name


def _put(path: Path, target: Path) -> None:
    """Place a stored output under a readable name, without a second copy on the disk.

    Files are hard links, because MLflow refuses to load a model through a symbolic link.
    """
    if path.is_dir():
        shutil.copytree(path, target, copy_function=_link, symlinks=True)
    else:
        _link(str(path), str(target))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # some file systems have no links
        shutil.copy2(source, target)


def _ready(graph: Graph, record: RunRecord, made: Mapping[str, Stored]) -> list[Node]:
    """Return the steps that may start now; none once a step has failed."""
    if any(step.status == FAILED for step in record.steps.values()):
        return []
    return [
        node
        for node in graph.nodes.values()
        if record.steps[node.name].status == NOT_STARTED and node.needs <= made.keys()
    ]
