"""One step as a process: its log, its progress, its time limit, its end."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

from tfhub_blocks.records.errors import ERROR_PREFIX
from tfhub_blocks.records.progress import PREFIX as PROGRESS_PREFIX

WARNING_PREFIX = "warning: "
TAIL_LINES = 20
# How long a step gets between being asked to end and being ended.
GRACE_S = 10.0


def step_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of a step: this interpreter's programs first, no azure-ai-ml."""
    variables = dict(os.environ)
    variables.update(
        PATH=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        PYTHONPATH=str(files("tfhub_blocks.control.step_site")),
        PYTHONUNBUFFERED="1",
        PYTHONNOUSERSITE="1",
        MLFLOW_DISABLE_TELEMETRY="true",
    )
    variables.update(extra)
    return variables


@dataclass
class StepProcess:
    """A step's command, run in its code folder, its output in a log.

    ``on_progress`` is called with the text of each progress line.
    """

    command: str
    code: Path
    log: Path
    variables: Mapping[str, str]
    timeout_s: float | None
    on_progress: Callable[[str], None]
    error: str = ""
    warnings: list[str] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None
    _stopped: bool = False

    def run(self) -> int:
        """Run to the end; the exit status, which is negative if a signal or the limit ended it."""
        with self.log.open("w", encoding="utf-8") as log:
            log.write(f"$ {self.command}\n")
            log.flush()
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", self.command],
                cwd=self.code,
                env=dict(self.variables),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,  # so that stopping it also stops what it started
            )
            limit = threading.Timer(self.timeout_s, self._time_out) if self.timeout_s else None
            if limit:
                limit.start()
            if self._stopped:
                self.stop()
            for line in self._process.stdout or ():
                self._read(line.rstrip("\n"))
                log.write(line)
                log.flush()
            status = self._process.wait()
            if limit:
                limit.cancel()
        return status

    def stop(self) -> None:
        """Ask the process and all that it started to end, and end them if they do not."""
        self._stopped = True
        process = self._process
        if process is None or process.poll() is not None:
            return
        _signal_group(process, signal.SIGTERM)
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            _signal_group(process, signal.SIGKILL)

    def tail(self) -> list[str]:
        """The last lines of the log."""
        with self.log.open(encoding="utf-8", errors="replace") as log:
            return [line.rstrip("\n") for line in log.readlines()[-TAIL_LINES:]]

    def _read(self, line: str) -> None:
        if line.startswith(PROGRESS_PREFIX):
            self.on_progress(line.removeprefix(PROGRESS_PREFIX))
        elif line.startswith(ERROR_PREFIX):
            self.error = line.removeprefix(ERROR_PREFIX)
        elif line.startswith(WARNING_PREFIX):
            self.warnings.append(line.removeprefix(WARNING_PREFIX))

    def _time_out(self) -> None:
        self.error = f"it took longer than its limit of {self.timeout_s:.0f} s and was stopped"
        self.stop()


def _signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
