"""A toy project in a folder of its own, and the command line run in it."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from toy_chain import (  # noqa: F401  # for several folders, made once
    chain,
    made_chain,
    place_of_sources,
    sources,
)
from toy_project import JOIN, MAKE, ROOT, TOY, Outcome, ToyProject, forget_project


class Project(ToyProject):
    """A folder with components, a pipeline and data; commands run in it."""

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

    def run(self, *arguments: str, pipeline: str = "toy", source: str = "src") -> Outcome:
        return self.main("run", pipeline, "--set", f"source={source}", "--json", *arguments)

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
