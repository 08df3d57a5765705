"""One step as a process: its log, its progress, its time limit, and its end."""

# decisions 3 and 58

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TextIO

from tfhub_blocks.records.base.errors import ERROR_PREFIX
from tfhub_blocks.records.base.progress import PREFIX as PROGRESS_PREFIX
from tfhub_blocks.records.base.worker_group import VARIABLE as TF_CONFIG

# The folder whose modules step_site/sitecustomize.py compiles from source.
CODE_VARIABLE = "TFHUB_BLOCKS_STEP_CODE"
WARNING_PREFIX = "warning: "
# The time between a request to end and the kill of a step.
GRACE_S = 10.0


def step_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return a step's environment variables: this interpreter's programs first, no azure-ai-ml."""
    variables = dict(os.environ)
    variables.pop(TF_CONFIG, None)  # TF_CONFIG of the engine, which may itself be a worker
    variables.update(
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        PYTHONPATH=str(files("tfhub_blocks.control.step_site")),
        PYTHONUNBUFFERED="1",
        PYTHONNOUSERSITE="1",
        MLFLOW_DISABLE_TELEMETRY="true",
        TFHUB_BLOCKS_ENGINE_PID=str(os.getpid()),
    )
    variables.update(extra)
    return variables


@dataclass
class StepProcess:
    """A step's command, run in its code folder, with its output in a log.

    ``on_progress`` is called with the text of each progress line. ``stopped`` is True once the
    process was asked to end, by the limit or by ``ask_to_end``; then its status has no meaning.
    """

    command: str
    code: Path
    log: Path
    variables: Mapping[str, str]
    timeout_s: float | None
    on_progress: Callable[[str], None]
    error: str = ""
    warnings: list[str] = field(default_factory=list)
    stopped: bool = False
    _process: subprocess.Popen[str] | None = None

    def run(self) -> int:
        """Run the process and its children to the end; return its status, negative for a signal."""
        with self.log.open("w", encoding="utf-8") as log:
            log.write(f"$ {self.command}\n")
            log.flush()
            process = subprocess.Popen(
                ["/bin/sh", "-c", _in_place_of_the_shell(self.command)],
                cwd=self.code,
                env={**self.variables, CODE_VARIABLE: str(self.code.resolve())},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,  # so that stopping it also stops what it started
            )
            self._process = process
            assert process.stdout is not None  # noqa: S101  # for the type checker
            limit = threading.Timer(self.timeout_s or 0, self._time_out)
            limit.daemon = True
            reader = threading.Thread(target=self._copy, args=(process.stdout, log), daemon=True)
            reader.start()
            if self.timeout_s:
                limit.start()
            if self.stopped:
                stop([self])
            try:
                return process.wait()
            finally:
                limit.cancel()
                # Its remaining children would run on, and keep its output open.
                self._signal(signal.SIGKILL)
                reader.join(GRACE_S)
                if not reader.is_alive():
                    process.stdout.close()

    def ask_to_end(self) -> None:
        """Ask the process and its children to end; ``run`` returns soon afterwards if they do."""
        self.stopped = True
        if not self.has_ended():
            self._signal(signal.SIGTERM)

    def end(self) -> None:
        """Kill the process and its children."""
        if not self.has_ended():  # otherwise another process may have its number
            self._signal(signal.SIGKILL)

    def has_ended(self) -> bool:
        """Return True if the process has ended, or was never started."""
        return self._process is None or self._process.poll() is not None

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _copy(self, lines: Iterable[str], log: TextIO) -> None:
        for line in lines:
            self._read(line.rstrip("\n"))
            # Reading continues on a full disk, because the step would otherwise wait forever.
            with suppress(OSError, ValueError):
                log.write(line)
                log.flush()

    def _read(self, line: str) -> None:
        if line.startswith(PROGRESS_PREFIX):
            self.on_progress(line.removeprefix(PROGRESS_PREFIX))
        elif line.startswith(ERROR_PREFIX) and not self.stopped:
            self.error = line.removeprefix(ERROR_PREFIX)
        elif line.startswith(WARNING_PREFIX):
            self.warnings.append(line.removeprefix(WARNING_PREFIX))

    def _time_out(self) -> None:
        self.error = f"the step exceeded its limit of {self.timeout_s:g} s and was stopped"
        stop([self])


def _in_place_of_the_shell(command: str) -> str:
    """Return the command in a form that passes signals and statuses directly to the step."""
    return f"exec {command}" if command.startswith("mldesigner execute ") else command


def stop(processes: Iterable[StepProcess]) -> None:
    """Ask processes to end, all at once, and kill those that do not end in time.

    An interrupt during the wait, such as a second Ctrl-C, kills all processes immediately.
    """
    processes = list(processes)
    try:
        for process in processes:
            process.ask_to_end()
        limit = time.monotonic() + GRACE_S
        while time.monotonic() < limit and not all(p.has_ended() for p in processes):
            time.sleep(0.02)
    finally:
        for process in processes:
            process.end()
