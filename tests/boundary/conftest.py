"""A release is made once; each way gets a copy of it to do something to."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from release_project import STRICT, commit, write_release_project
from stands import Outside, ReleaseStand
from toy_project import ToyProject, forget_project

LOCKED = ("lock", "judged", "--set", "source=src", "--set", "owner=us", "--name", "first")


@pytest.fixture(scope="session")
def made_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a lock in its last commit, made by the command line."""
    project = ToyProject(tmp_path_factory.mktemp("release") / "project", None)
    project.write("pipelines/profiles/strict.toml", STRICT)
    write_release_project(project)
    process = project.start(*LOCKED)
    told = process.communicate()
    assert process.returncode == 0, told
    commit(project, "a release")
    return project.folder


@pytest.fixture
def release(
    made_release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> Iterator[ReleaseStand]:
    """A copy of it, to be tampered with."""
    folder = tmp_path / "project"
    shutil.copytree(made_release, folder, symlinks=True)
    monkeypatch.chdir(folder)
    # An edit within a second leaves a .pyc that looks current.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with Outside() as outside:
        yield ReleaseStand(folder, capfd, monkeypatch, outside)
    forget_project()
