"""Outputs of one step, from the store or from a process whose outputs are then stored."""

import signal
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tfhub_blocks.control.environments.environment_bakes import encoders_folder
from tfhub_blocks.control.local.local_workers import free_addresses, run_together
from tfhub_blocks.control.local.step_process import StepProcess, step_environment, stop
from tfhub_blocks.control.project.instance_counts import instance_count
from tfhub_blocks.control.project.output_store import Store, Stored
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.project.run_records import CANCELED, COMPLETED, FAILED, StepRecord
from tfhub_blocks.control.project.step_graph import Node, OutputOf
from tfhub_blocks.control.project.step_keys import StepKeys
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.system_errors import system_error
from tfhub_blocks.records.base.worker_group import VARIABLE, Worker, tf_config
from tfhub_blocks.records.formats.withdrawals import VARIABLE as WITHDRAWN_VARIABLE
from tfhub_blocks.records.formats.withdrawals import Withdrawal
from tfhub_blocks.records.formats.withdrawn import Withdrawn, refuse_withdrawn
from tfhub_blocks.records.pins.pins import IMAGE_VARIABLE


@dataclass
class StepMaker:
    """A runner of the steps of one run, used by several threads at once.

    ``variables`` are environment variables for each step, in addition to the engine's own.
    ``statements`` are the withdrawals of the project: no output that depends on one is reused.
    """

    run: str
    store: Store
    profile: Profile
    variables: Mapping[str, str]
    reuse: bool
    statements: Sequence[Withdrawal] = ()
    keys: StepKeys = field(init=False)
    _withdrawn: Withdrawn = field(init=False)
    _policies: Mapping[str, str] = field(init=False)
    _interrupted: threading.Event = field(default_factory=threading.Event)
    _processes: list[StepProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keys = StepKeys(self.run, self.profile)
        self._withdrawn = Withdrawn.of(self.statements)
        text = Withdrawn.for_steps(self.statements).as_text("run")
        self._policies = self.profile.policies | ({WITHDRAWN_VARIABLE: text} if text else {})

    def make(
        self, node: Node, made: Mapping[str, Stored], folder: Path, step: StepRecord
    ) -> Stored | None:
        """Reuse or run one step; return None if the step failed, with the reason in its record.

        Args:
            node: The step.
            made: The outputs of the steps that it needs, by their names.
            folder: The folder of the step's code and log.
            step: The step's record, which is kept up to date.
        """
        started = time.monotonic()
        step.started = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            stored = self._reuse_or_run(node, made, folder, step)
        except (BlocksError, OSError) as error:
            step.error, stored = str(system_error(error, node.name) or error), None
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

    def interrupt(self) -> None:
        """Stop all running steps, and start no new ones."""
        self._interrupted.set()
        stop(list(self._processes))

    def _reuse_or_run(
        self, node: Node, made: Mapping[str, Stored], folder: Path, step: StepRecord
    ) -> Stored | None:
        step.parts = self.keys.parts(node, made, folder / "code")
        key = self.keys.key_of(node, step.parts)

        def on_wait() -> None:
            step.progress = "waiting for another run of the same step"
            self._end_if_interrupted()

        with self.store.locked(key, on_wait):
            step.progress = ""
            reusable = self.reuse and node.deterministic
            stored = self.store.find(key, step.warnings.append) if reusable else None
            if stored:
                self._refuse_withdrawn(node, stored)
                step.reused = True
                step.warnings += stored.warnings
                return stored
            attempt = self.store.begin(key, node.output_types, take_up=reusable)
            try:
                workers = self._workers(node, made, attempt, folder, step)
                self._end_if_interrupted()
                started = time.monotonic()
                index, step.exit_status = run_together(workers)
                warnings = list(dict.fromkeys(it for worker in workers for it in worker.warnings))
                step.warnings += warnings
                if step.exit_status or workers[index].stopped:
                    step.log = str(workers[index].log)
                    step.error = workers[index].error or _ending(step.exit_status)
                    if len(workers) > 1:
                        step.error = f"{Worker(index, len(workers))}: {step.error}"
                    return None
                seconds = time.monotonic() - started
                finished = (node.name, node.output_types, seconds, warnings)
                return self.store.finish(key, attempt, *finished)
            finally:
                self.store.discard(attempt, keep_work=node.deterministic)

    def _workers(
        self,
        node: Node,
        made: Mapping[str, Stored],
        attempt: Path,
        folder: Path,
        step: StepRecord,
    ) -> list[StepProcess]:
        """Return the processes of a step, one for each node that it would run on.

        Each process gets the same command, code and folders as on Azure ML, and its place in
        ``TF_CONFIG``. The progress of the step is the progress of the first process.
        """
        outputs = {port: attempt / port for port in node.output_types}
        inputs = {
            port: made[value.node].outputs[value.port] if isinstance(value, OutputOf) else value
            for port, value in node.inputs.items()
        }
        variables = {
            **{name: str(text) for name, text in node.environment_variables.items()},
            **self._policies,
            **_image(node.environment),
            **self.variables,
        }
        addresses = free_addresses(instance_count(node, self.profile))
        workers = [
            StepProcess(
                command=node.arguments(inputs, outputs),
                code=folder / "code",
                log=folder / (f"log.worker{index}.txt" if index else "log.txt"),
                variables=step_environment({**variables, **_place(addresses, index)}),
                timeout_s=node.timeout_s or self.profile.roles[node.role].timeout_s,
                on_progress=(lambda _: None) if index else partial(setattr, step, "progress"),
            )
            for index in range(len(addresses))
        ]
        step.log = str(workers[0].log)
        self._processes += workers
        return workers

    def _refuse_withdrawn(self, node: Node, stored: Stored) -> None:
        """Refuse a stored output that depends on something withdrawn."""
        for port, path in stored.outputs.items():
            found = self._withdrawn.of_digests([stored.digests[port]])
            refuse_withdrawn(node.name, port, found or self._withdrawn.in_folder(path))

    def _end_if_interrupted(self) -> None:
        if self._interrupted.is_set():
            raise CancelledError


def _place(addresses: Sequence[str], index: int) -> dict[str, str]:
    return {VARIABLE: tf_config(addresses, index)} if len(addresses) > 1 else {}


def _image(environment: str) -> dict[str, str]:
    """Return the variable with the folder that stands for the image, because no image is built."""
    folder = encoders_folder(environment)
    return {IMAGE_VARIABLE: str(folder)} if folder else {}


def _ending(status: int) -> str:
    if status < 0:
        return f"signal {signal.Signals(-status).name} ended the step"
    return f"the step ended with status {status}"
