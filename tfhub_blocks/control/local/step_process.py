"""One step as a process: its log, its progress, its time limit, and its end."""

# decisions 3, 58, 69 and 71

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TextIO

from tfhub_blocks.records.base.foreign_text import printable, printable_lines
from tfhub_blocks.records.base.redaction import environment_secrets, redacted
from tfhub_blocks.records.base.step_messages import VARIABLE as MESSAGES
from tfhub_blocks.records.base.worker_group import VARIABLE as TF_CONFIG
from tfhub_blocks.records.environment.package_locks import step_lock_path

# The folder whose modules step_site/sitecustomize.py compiles from source.
CODE_VARIABLE = "TFHUB_BLOCKS_STEP_CODE"
# Set for a step whose package lock contains azure-ai-ml, which is then not hidden from it.
AZURE_VARIABLE = "TFHUB_BLOCKS_STEP_AZURE"
_AZURE_LINE = re.compile(r"^azure-ai-ml==", re.MULTILINE)
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


def _locks_azure(code: Path) -> bool:
    """Return True if the environment of a step's code snapshot contains azure-ai-ml."""
    lock = step_lock_path(code / "tfhub_blocks")
    return lock.is_file() and bool(_AZURE_LINE.search(lock.read_text(encoding="utf-8")))


@dataclass
class StepProcess:
    """A step's command, run in its code folder, with its output in a log.

    The process sends its messages through a pipe of its own, so that no line of its output
    imitates one. ``on_progress`` is called with the text of each progress message. The log is
    escaped, and contains no secret of the environment. ``stopped`` is True once the process was
    asked to end, by the limit or by ``ask_to_end``; then its status has no meaning.
    """

    command: Sequence[str]
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
            secrets = environment_secrets(self.variables)
            log.write(f"$ {printable(redacted(shlex.join(self.command), secrets))}\n")
            log.flush()
            receiver, sender = os.pipe()
            try:
                process = subprocess.Popen(
                    self.command,
                    cwd=self.code,
                    env={
                        **self.variables,
                        CODE_VARIABLE: str(self.code.resolve()),
                        AZURE_VARIABLE: "1" if _locks_azure(self.code) else "",
                        MESSAGES: str(sender),
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    encoding="utf-8",
                    errors="replace",
                    start_new_session=True,  # so that stopping it also stops what it started
                    pass_fds=(sender,),
                )
            except BaseException:
                os.close(receiver)
                raise
            finally:
                os.close(sender)
            self._process = process
            assert process.stdout is not None  # noqa: S101  # for the type checker
            limit = threading.Timer(self.timeout_s or 0, self._time_out)
            limit.daemon = True
            readers = [
                threading.Thread(target=self._copy, args=(process.stdout, log, secrets)),
                threading.Thread(target=self._listen, args=(receiver,)),
            ]
            for reader in readers:
                reader.daemon = True
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
                for reader in readers:
                    reader.join(GRACE_S)
                if not readers[0].is_alive():
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

    def _copy(self, lines: Iterable[str], log: TextIO, secrets: Sequence[str]) -> None:
        for line in lines:
            # Reading continues on a full disk, because the step would otherwise wait forever.
            with suppress(OSError, ValueError):
                log.write(printable_lines(redacted(line, secrets)))
                log.flush()

    def _listen(self, receiver: int) -> None:
        with open(receiver, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                # A process that is killed may leave half a line.
                with suppress(ValueError, KeyError, TypeError):
                    message = json.loads(line)
                    self._read(str(message["kind"]), printable(redacted(str(message["text"]))))

    def _read(self, kind: str, text: str) -> None:
        if kind == "progress":
            self.on_progress(text)
        elif kind == "error" and not self.stopped:
            self.error = text
        elif kind == "warning":
            self.warnings.append(text)

    def _time_out(self) -> None:
        self.error = f"the step exceeded its limit of {self.timeout_s:g} s and was stopped"
        stop([self])


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
