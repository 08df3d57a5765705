"""A toy project: two steps, a pipeline of three nodes, and the command line run in its folder."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
# How long a test waits for what does not come: it ends a hang, and a busy machine stays below it.
PATIENCE_S = 120.0

MAKE = '''"""make: writes a file."""

import os
import signal
import subprocess
import time
from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.folders import Format
from tfhub_blocks.records.base.step_messages import send_message


@command_component(version="1.0.0", environment="azureml:x:1", tags={"role": "cpu"})
def make(
    source: Input(type="uri_folder", description="What it reads"),
    made: Output(type="uri_folder", description="What it writes"),
    text: Input(type="string", enum=["a", "b"], description="A letter") = "a",
    count: Input(type="integer", min=1, max=9, description="How many") = 1,
    flag: Input(type="boolean", description="Yes or no") = False,
    maybe: Input(type="number", optional=True, description="Or nothing") = None,
):
    """Doc."""
    with step(make, locals()) as run:
        folder = run.begin_output("made", Format("made", 1))
        word = (Path(source) / "word").read_text()
        (folder / "f.txt").write_text(f"{word} {text} {count} {flag} {maybe}|")
        # EFFECT
'''
JOIN = '''"""join: joins two files."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.records.base.step_messages import send_message


@command_component(version="1.0.0", environment="azureml:x:1", tags={"role": "cpu"})
def join(
    left: Input(type="uri_folder", description="One"),
    right: Input(type="uri_folder", description="Other"),
    joined: Output(type="uri_file", description="Both"),
):
    """Doc."""
    send_message("progress", "1/2 things, 1/s")
    send_message("warning", "a toy")
    texts = [(Path(folder) / "f.txt").read_text() for folder in (left, right)]
    Path(joined).write_text("".join(texts))
'''
SHARE = '''"""share: workers write parts, the first one joins them."""

import hashlib
import os
import signal
import time
from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.folders import Format, write_file


@command_component(
    version="1.0.0", environment="azureml:x:1", tags={"role": "cpu", "workers": "many"}
)
def share(
    source: Input(type="uri_folder", description="What some step made"),
    shared: Output(type="uri_folder", description="What it writes"),
    count: Input(type="integer", min=1, max=99, description="How many parts") = 12,
):
    """Doc."""
    with step(share, locals()) as run:
        parts = run.work("shared")
        names = [hashlib.sha256(bytes([number])).hexdigest() for number in range(count)]
        for done, name in enumerate(names):
            if run.worker.takes(name) and not (parts / name).exists():
                # EFFECT
                write_file(parts / name, name.encode())
                print("made", name, flush=True)
                # MADE
        if run.worker.is_first:
            while not all((parts / name).exists() for name in names):
                time.sleep(0.02)
            folder = run.begin_output("shared", Format("shared", 1))
            (folder / "all").write_text("".join((parts / name).read_text() for name in names))


if __name__ == "__main__":
    import sys

    share.__wrapped__(*sys.argv[1:3], int(sys.argv[3]))
'''
TOY = '''"""toy: two steps and one that joins them."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import join, make


@dsl.pipeline(name="toy")
def toy(
    source: Input(type="uri_folder", description="A folder"),
    text: Input(type="string", enum=["a", "b"], description="A letter") = "a",
    count: Input(type="integer", min=1, max=9, description="How many") = 3,
    rate: Input(type="number", min=0.0, max=1.0, description="A share") = 0.5,
    flag: Input(type="boolean", description="Yes or no") = True,
    maybe: Input(type="number", optional=True, description="Or nothing") = None,
):
    left = make(source=source, text=text, maybe=maybe, flag=flag)
    right = make(source=source, text="b", count=count)
    joined = join(left=left.outputs.made, right=right.outputs.made)
    return {"joined": joined.outputs.joined}
'''

SHARED = '''"""shared: one step, and one that several workers share."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import make, share


@dsl.pipeline(name="shared")
def shared(source: Input(type="uri_folder", description="A folder")):
    first = make(source=source)
    # FIRST
    many = share(source=first.outputs.made)
    # MANY
    return {"shared": many.outputs.shared}
'''


@dataclass
class Outcome:
    """What a command printed and how it ended."""

    status: int
    out: str
    err: str

    @property
    def record(self) -> dict[str, Any]:
        return json.loads(self.out)

    def reused(self) -> dict[str, bool]:
        return {name: step["reused"] for name, step in self.record["steps"].items()}

    def states(self) -> dict[str, str]:
        return {name: step["status"] for name, step in self.record["steps"].items()}


@cache
def copy_databases() -> None:
    """From now on, this process copies a new database of MLflow, which takes a second to build."""
    from tfhub_blocks.control.project import tracking_store

    build, template = tracking_store._build, Path(tempfile.mkdtemp()) / "mlflow.db"
    building = threading.Lock()

    def copy(path: Path) -> None:
        with building:
            if not template.exists():
                build(template)
        shutil.copyfile(template, path)

    tracking_store._build = copy


@dataclass
class ToyProject:
    """A folder in which commands run; ``capture`` is pytest's ``capfd``."""

    folder: Path
    capture: Any

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def read(self, name: str) -> str:
        return (self.folder / name).read_text()

    def main(self, *words: str, anew: bool = True) -> Outcome:
        """Run a command in this process, which imports azure-ai-ml once.

        ``anew`` reads components and pipelines again, as a process of its own would.
        """
        from tfhub_blocks.cli import main

        copy_databases()
        if anew:
            forget_project()
        self.capture.readouterr()
        try:
            status = main(list(words))
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            if anew:
                forget_project()
        return Outcome(status, *self.capture.readouterr())

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Run a command in a process of its own."""
        settings: dict[str, Any] = {
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "cwd": self.folder,
            "env": os.environ | {"PYTHONPATH": str(ROOT)},
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tfhub_blocks.cli", *arguments], **(settings | options)
        )


def forget_project() -> None:
    """Forget modules of the project that was in use, and what the SDK did to its components."""
    roots = tuple(
        f"{parent}{group}"
        for parent in ("", "tfhub_blocks.")
        for group in ("components", "pipelines")
    )
    for name in [it for it in sys.modules if it.startswith(roots)]:
        if f"{name}.".startswith(tuple(f"{root}." for root in roots)):
            del sys.modules[name]


def wait_for(
    condition: Callable[[], Any], timeout_s: float = PATIENCE_S, poll_s: float = 0.02
) -> Any:
    """What a condition gives once that is something."""
    limit = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < limit, "nothing came of it in time"
        time.sleep(poll_s)
    return found


def is_alive(number: int) -> bool:
    """Whether a process runs."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
