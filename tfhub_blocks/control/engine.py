"""The local engine: runs the pipeline job that Azure ML would run, by Azure's rules, here."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    CancelledError,
    Future,
    ThreadPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tfhub_blocks.control.graphs import Graph, Node, OutputOf
from tfhub_blocks.control.processes import StepProcess, step_environment, stop
from tfhub_blocks.control.profiles import Profile
from tfhub_blocks.control.runs import (
    CANCELED,
    COMPLETED,
    FAILED,
    NOT_STARTED,
    RUNNING,
    RunRecord,
    StepRecord,
    new_run_name,
)
from tfhub_blocks.control.store import Store, Stored, content_digest
from tfhub_blocks.records.digests import files_sha256, record_digest, tree_digest
from tfhub_blocks.records.drift import POLICY_VARIABLE
from tfhub_blocks.records.environments import environment_digest
from tfhub_blocks.records.errors import BlocksError

METRICS_NAME = "metrics.json"


@dataclass
class LocalEngine:
    """Runs graphs below one folder.

    ``store/`` holds outputs by content, ``runs/`` a folder for each run, ``mlflow.db`` and
    ``mlflow/`` what the steps track and register.
    """

    folder: Path
    profile: Profile
    on_change: Callable[[RunRecord], None] = lambda _: None
    reuse: bool = True
    _store: Store = field(init=False)
    _environment: str = field(init=False)
    _digests: dict[Path, str] = field(default_factory=dict)
    _digests_lock: threading.Lock = field(default_factory=threading.Lock)
    _interrupted: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.folder = self.folder.absolute()
        if "'" in str(self.folder):
            raise BlocksError(
                "run",
                "--runs-dir",
                f"{str(self.folder)!r} holds a quote",
                "a path that a command line can carry",
                "choose another folder",
            )
        self._store = Store(self.folder / "store")
        self._environment = environment_digest()

    @property
    def tracking_uri(self) -> str:
        """Where MLflow keeps what the steps track and register."""
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    def run(self, graph: Graph, given: Mapping[str, Any]) -> RunRecord:
        """Run a graph to its end.

        Independent steps run side by side. A step that was made before from the same code,
        environment, inputs and parameters is not run again. After a failure nothing new starts,
        and what is running ends in its own time, so that it can be reused.

        Returns:
            The record, with a final status: Completed, Failed, or Canceled by an interrupt.
        """
        record = self._begin(graph, given)
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
            if record.status == FAILED:  # a fault of ours, or nobody reads what is printed
                record.write()
                raise
        record.seconds = time.monotonic() - started
        self._finish(graph, record, made)
        return record

    def _run_steps(
        self, graph: Graph, record: RunRecord, made: dict[str, Stored], started: float
    ) -> None:
        running: dict[Future[Stored | None], str] = {}
        processes: dict[str, StepProcess] = {}
        most = self.profile.max_parallel_steps
        with ThreadPoolExecutor(most) as pool:
            try:
                while True:
                    # None waits in the pool, where a failure would not keep it from starting.
                    for node in _ready(graph, record, made)[: most - len(running)]:
                        record.steps[node.name].status = RUNNING
                        future = pool.submit(self._step, node, dict(made), record, processes)
                        running[future] = node.name
                    if not running:
                        break
                    done, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                    for future in done:
                        name = running.pop(future)
                        if stored := future.result():
                            made[name] = stored
                        record.write()
                    record.seconds = time.monotonic() - started
                    self.on_change(record)
            except BaseException:
                self._interrupted.set()
                stop(list(processes.values()))
                raise

    def _begin(self, graph: Graph, given: Mapping[str, Any]) -> RunRecord:
        self._check_roles(graph)
        runs = self.folder / "runs"
        try:
            name = new_run_name(graph.name, runs)
        except OSError as error:
            raise BlocksError(
                "run", "--runs-dir", str(error), "a folder to write into", "choose another folder"
            ) from error
        record = RunRecord(
            run=name,
            pipeline=graph.name,
            profile=self.profile.name,
            folder=str(runs / name),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            inputs={key: str(value) for key, value in given.items()},
            steps={node.name: StepRecord(node.component) for node in graph.nodes.values()},
            tracking_uri=self.tracking_uri,
        )
        record.write()
        # All at once, as Azure ML takes them when a job is submitted: an edit made while the run
        # goes on is not part of it.
        for node in graph.nodes.values():
            folder = _step_folder(record, node)
            folder.mkdir(parents=True)
            node.write_code(folder / "code")
        return record

    def _check_roles(self, graph: Graph) -> None:
        for node in graph.nodes.values():
            if node.role not in self.profile.roles:
                raise BlocksError(
                    "profile",
                    self.profile.name,
                    f"it has no role {node.role!r}, which step {node.name} has",
                    "one of " + ", ".join(self.profile.roles),
                    f"add [roles.{node.role}] to it, or correct the tag role of {node.component}",
                )

    def _finish(self, graph: Graph, record: RunRecord, made: Mapping[str, Stored]) -> None:
        shelf = Path(record.folder) / "outputs"
        shelf.mkdir()
        for name, source in graph.outputs.items():
            if source.node in made:
                _put(made[source.node].outputs[source.port], shelf / name)
                record.outputs[name] = str(shelf / name)
        for stored in made.values():
            for path in stored.outputs.values():
                record.metrics |= _metrics(path / METRICS_NAME)
        record.write()
        # By a rename: another run may be doing the same.
        link = Path(record.folder) / "latest"
        link.symlink_to(record.run)
        link.replace(self.folder / "runs" / "latest")
        self.on_change(record)

    def _step(
        self,
        node: Node,
        made: Mapping[str, Stored],
        record: RunRecord,
        processes: dict[str, StepProcess],
    ) -> Stored | None:
        """Reuse or run one step; None if it failed, and then its record says why."""
        step = record.steps[node.name]
        started = time.monotonic()
        try:
            stored = self._reuse_or_run(node, made, record, processes)
        except (BlocksError, OSError) as error:
            step.error, stored = str(error), None
        except CancelledError:
            stored = None
        step.seconds = time.monotonic() - started
        if stored:
            step.outputs = {port: str(path) for port, path in stored.outputs.items()}
            step.status = COMPLETED
        elif self._interrupted.is_set():
            step.error, step.status = "", CANCELED
        else:
            step.status = FAILED
        return stored

    def _reuse_or_run(
        self,
        node: Node,
        made: Mapping[str, Stored],
        record: RunRecord,
        processes: dict[str, StepProcess],
    ) -> Stored | None:
        step = record.steps[node.name]
        folder = _step_folder(record, node)
        code = folder / "code"
        inputs = {
            port: made[value.node].outputs[value.port] if isinstance(value, OutputOf) else value
            for port, value in node.inputs.items()
        }
        key = self._key(node, inputs, made, tree_digest(files_sha256(code)))
        if not node.deterministic:
            key = f"{key}-{record.run}"

        def on_wait() -> None:
            step.progress = "waits for another run that makes the same"
            self._end_if_interrupted()

        with self._store.locked(key, on_wait):
            step.progress = ""
            reusable = self.reuse and node.deterministic
            stored = self._store.find(key, step.warnings.append) if reusable else None
            if stored:
                step.reused = True
                return stored
            attempt = self._store.begin(key, node.output_types)
            outputs = {port: attempt / port for port in node.output_types}
            process = StepProcess(
                command=node.command_line(inputs, outputs),
                code=code,
                log=folder / "log.txt",
                variables=step_environment(self._variables(record)),
                timeout_s=node.timeout_s or self.profile.roles[node.role].timeout_s,
                on_progress=lambda text: setattr(step, "progress", text),
            )
            step.log = str(process.log)
            processes[node.name] = process
            self._end_if_interrupted()
            started = time.monotonic()
            try:
                step.exit_status = process.run()
                step.warnings += process.warnings
                if step.exit_status or process.stopped:
                    step.error = process.error or _ending(step.exit_status)
                    return None
                seconds = time.monotonic() - started
                return self._store.finish(key, attempt, node.name, node.output_types, seconds)
            finally:
                self._store.discard(attempt)

    def _end_if_interrupted(self) -> None:
        if self._interrupted.is_set():
            raise CancelledError

    def _key(
        self, node: Node, inputs: Mapping[str, Any], made: Mapping[str, Stored], code_digest: str
    ) -> str:
        """What a step's outputs are a function of, as one digest."""
        contents = {}
        for port, value in node.inputs.items():
            if isinstance(value, OutputOf):
                contents[port] = made[value.node].digests[value.port]
            elif isinstance(value, Path):
                contents[port] = self._input_digest(inputs[port])
            else:
                contents[port] = node.text(port, value)
        # What refuses another environment takes nothing that was made where none was refused.
        strict = ["refuse"] if self._policy == "refuse" else []
        return record_digest(
            {
                "code": code_digest,
                "environment": [node.environment, self._environment, *strict],
                "command": node.command,
                "inputs": contents,
                "outputs": dict(node.output_types),
            }
        )[:40]

    def _input_digest(self, path: Path) -> str:
        with self._digests_lock:
            if path not in self._digests:
                self._digests[path] = content_digest(path)
            return self._digests[path]

    @property
    def _policy(self) -> str:
        return self.profile.environment_policy or os.environ.get(POLICY_VARIABLE, "")

    def _variables(self, record: RunRecord) -> dict[str, str]:
        return {
            POLICY_VARIABLE: self._policy,
            "MLFLOW_TRACKING_URI": self.tracking_uri,
            "MLFLOW_EXPERIMENT_NAME": record.pipeline,
            # Where a client that talks to SQLite itself puts artifacts; else ./mlruns.
            "_MLFLOW_SERVER_ARTIFACT_ROOT": str(self.folder / "mlflow"),
        }


def _step_folder(record: RunRecord, node: Node) -> Path:
    return Path(record.folder) / "steps" / node.name


def _put(path: Path, target: Path) -> None:
    """Show a stored output under a name that people read, without a second copy on the disk.

    Not as a symbolic link: MLflow refuses to load a model through one.
    """
    if path.is_dir():
        shutil.copytree(path, target, copy_function=_link)
    else:
        _link(str(path), str(target))


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # some file systems have no links
        shutil.copy2(source, target)


def _ending(status: int) -> str:
    if status < 0:
        return f"it was ended by {signal.Signals(-status).name}"
    return f"it ended with status {status}"


def _ready(graph: Graph, record: RunRecord, made: Mapping[str, Stored]) -> list[Node]:
    """The steps that may start now: none once a step has failed."""
    if any(step.status == FAILED for step in record.steps.values()):
        return []
    return [
        node
        for node in graph.nodes.values()
        if record.steps[node.name].status == NOT_STARTED and node.needs <= made.keys()
    ]


def _metrics(path: Path) -> dict[str, float]:
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
