"""A release is made once; each way gets a copy of it to do something to."""

import copy
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from foreign_stand import ForeignStand
from registry_stand import RegisteredStand
from release_project import STRICT, commit, write_release_project
from stands import ModelStand, Outside, ReleaseStand
from toy_chain import Chain
from toy_project import ROOT, ToyProject, forget_project

AZUREML = ROOT / "tests/azureml"
sys.path.insert(0, str(AZUREML))
_spec = importlib.util.spec_from_file_location("azureml_fixtures", AZUREML / "conftest.py")
azureml = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = azureml
_spec.loader.exec_module(azureml)
# The servers, as the tests of the workspace have them.
control_plane = azureml.control_plane

from loopback.control_plane import ControlPlane  # noqa: E402
from workspace_stands import RunStand, WorkspaceStand, restore  # noqa: E402

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


@pytest.fixture(scope="session")
def published(
    control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ControlPlane, Path, dict[str, dict[str, Any]]]:
    """A release in a workspace: that, the repository, and all that the workspace holds."""
    folder = tmp_path_factory.mktemp("published") / "project"
    project = azureml.Project(folder, None, control_plane)
    project.write("pipelines/profiles/strict.toml", STRICT)
    trial = STRICT.replace('takes = "locks"\n', "").replace('"production"', '"experiment"')
    project.write("pipelines/profiles/trial.toml", trial)
    write_release_project(project, own_lock=True)
    control_plane.write_config(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in control_plane.environment().items():
            patch.setenv(name, value)
        words = ("--data", "source=words")
        for command in (
            ("publish", "make", "join", "judge", "--data", "words=src"),
            ("compute", "apply", "--profile", "strict"),
            (*LOCKED, *words),
        ):
            process = project.start(*command)
            told = process.communicate()
            assert process.returncode == 0, told
    commit(project, "a release")
    return control_plane, folder, copy.deepcopy(control_plane.workspace.resources)


def _stand(kind: Any, published: Any, tmp_path: Path, patch: Any, capfd: Any) -> Iterator[Any]:
    plane, made, resources = published
    restore(plane, resources)
    folder = tmp_path / "project"
    shutil.copytree(made, folder, symlinks=True)
    for name, value in plane.environment().items():
        patch.setenv(name, value)
    patch.setattr(tempfile, "tempdir", str(plane.temporary))
    patch.setattr(sys, "dont_write_bytecode", True)
    patch.chdir(folder)
    stand = kind(folder, capfd, patch, plane)
    yield stand
    plane.end_jobs()
    for undo in stand.undo:
        undo()
    forget_project()


@pytest.fixture
def workspace(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> Iterator[WorkspaceStand]:
    """A published release in a workspace, to be tampered with."""
    yield from _stand(WorkspaceStand, published, tmp_path, monkeypatch, capfd)


@pytest.fixture
def run(
    published: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> Iterator[RunStand]:
    """The same with the release's job, which waits until somebody has tampered with it."""
    yield from _stand(RunStand, published, tmp_path, monkeypatch, capfd)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> ModelStand:
    """A model and its evidence, to be tampered with; what registers it keeps it here."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("TFHUB_BLOCKS_ENVIRONMENT_POLICY", "record")
    return ModelStand(tmp_path, capfd)


@pytest.fixture
def registered(chain: Chain) -> RegisteredStand:
    """A registry with two models and their chains, to be tampered with."""
    return RegisteredStand(chain)


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ForeignStand:
    """A folder for what somebody brings along."""
    monkeypatch.chdir(tmp_path)
    return ForeignStand(tmp_path)
