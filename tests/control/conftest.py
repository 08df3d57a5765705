"""A toy project in a folder of its own, and the command line run in it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
GOLDENS = Path(__file__).parent / "goldens"

MAKE = '''"""make: writes a file."""

import os
import signal
import subprocess
import time
from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.steps import step
from tfhub_blocks.records.folders import Format


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


@command_component(version="1.0.0", environment="azureml:x:1", tags={"role": "cpu"})
def join(
    left: Input(type="uri_folder", description="One"),
    right: Input(type="uri_folder", description="Other"),
    joined: Output(type="uri_file", description="Both"),
):
    """Doc."""
    print("progress: 1/2 things, 1/s")
    print("warning: a toy", flush=True)
    texts = [(Path(folder) / "f.txt").read_text() for folder in (left, right)]
    Path(joined).write_text("".join(texts))
'''
TOY = '''"""toy: two steps and one that joins them."""

from azure.ai.ml import Input, dsl

from components import join, make


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


@dataclass
class Project:
    """A folder with components, a pipeline and data; commands run in it."""

    folder: Path
    capture: Any

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def effect(self, code: str, name: str = "make") -> None:
        """Let each step of a component do something more, at its end."""
        lines = "\n        ".join(code.splitlines())
        self.write(f"components/{name}/component.py", MAKE.replace("# EFFECT", lines))

    def limit(self, **limits: int) -> None:
        """A profile "limited" with other limits than the local one."""
        timeout_s = limits.get("timeout_s", 60)
        self.write(
            "pipelines/profiles/limited.toml",
            'format_version = 1\ndescription = "x"\nengine = "local"\n'
            f"max_parallel_steps = {limits.get('parallel', 2)}\n"
            f'[roles.cpu]\ncompute = "local"\ntimeout_s = {timeout_s}\n',
        )

    def main(self, *arguments: str) -> Outcome:
        """Run a command in this process, which imports azure-ai-ml once."""
        from tfhub_blocks.cli import main

        forget_project()
        self.capture.readouterr()
        try:
            status = main(list(arguments))
        except SystemExit as end:
            status = int(end.code or 0)
        finally:
            forget_project()
        out, err = self.capture.readouterr()
        return Outcome(status, out, err)

    def run(self, *arguments: str, pipeline: str = "toy", source: str = "src") -> Outcome:
        return self.main("run", pipeline, "--set", f"source={source}", "--json", *arguments)

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

    def normal(self, text: str) -> str:
        """Text without what differs from place to place and from run to run."""
        # The programs first: they may lie inside the checkout.
        text = text.replace(str(Path(sys.executable).parent), "BIN")
        text = text.replace(str(self.folder), "PROJECT").replace(str(ROOT), "ROOT")
        # What else is installed is none of the toy's business.
        others = [*ROOT.glob("pipelines/[!_]*.py"), *ROOT.glob("pipelines/profiles/[!l]*.toml")]
        for path in others:
            text = text.replace(f"{path.stem}, ", "")
        # A quick step is seen running or not.
        text = re.sub(r"^\w+ +Running\b.*\n", "", text, flags=re.M)
        text = re.sub(r"toy-\d{8}T\d{6}Z(-\d+)?", "toy-TIME", text)
        text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+", "TIME", text)
        text = re.sub(r"attempt-\d+-[0-9a-f]{8}", "attempt-ID", text)
        text = re.sub(r"store/[0-9a-f]{40}", "store/KEY", text)
        return re.sub(r"\b\d+\.\d s\b", "N s", text)


def forget_project() -> None:
    """Forget modules of the project that was in use: another test has another."""
    for name in [n for n in sys.modules if n.partition(".")[0] in ("components", "pipelines")]:
        del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Iterator[Project]:
    folder = tmp_path / "project"
    project = Project(folder, capfd)
    project.write("components/make/component.py", MAKE)
    project.write("components/join/component.py", JOIN)
    project.write("pipelines/toy.py", TOY)
    project.write("src/word", "hello")
    monkeypatch.chdir(folder)
    # An edit within a second leaves a .pyc that looks current.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield project
    forget_project()


@pytest.fixture
def own_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of tfhub_blocks that steps are taken from, to edit."""
    import tfhub_blocks

    copy = tmp_path / "library" / "tfhub_blocks"
    shutil.copytree(
        ROOT / "tfhub_blocks", copy, ignore=shutil.ignore_patterns("__pycache__", "compute")
    )
    shutil.copytree(ROOT / "tfhub_blocks" / "compute", copy / "compute")
    monkeypatch.setattr(tfhub_blocks, "__file__", str(copy / "__init__.py"))
    return copy


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Hold a text to ``goldens/NAME.txt``; UPDATE_GOLDENS=1 writes it there instead."""

    def check(name: str, text: str) -> None:
        path = GOLDENS / f"{name}.txt"
        if os.environ.get("UPDATE_GOLDENS") == "1":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return check
