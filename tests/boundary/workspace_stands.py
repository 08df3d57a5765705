"""What ways by the workspace are tried on: one with a published release, and with its job."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loopback.control_plane import ControlPlane
from loopback.execution import Executor
from stands import SUBMIT, plain
from toy_project import ToyProject
from ways import Way


class WorkspaceStand(ToyProject):
    """A project whose release is published, in a workspace that others can write to as well."""

    def __init__(
        self, folder: Path, capture: Any, monkeypatch: pytest.MonkeyPatch, plane: ControlPlane
    ) -> None:
        super().__init__(folder, capture)
        self.monkeypatch, self.plane = monkeypatch, plane
        self.undo: list[Callable[[], None]] = []

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """What is in the workspace, by its id there."""
        return self.plane.workspace.resources

    def versions(self, kind: str) -> list[dict[str, Any]]:
        """The properties of each version of a kind of asset."""
        return [it["properties"] for it in self.plane.workspace.versions(kind)]

    def codes(self, step: str) -> list[str]:
        """Where the code of a published step is."""
        names = (p["componentSpec"] for p in self.versions("components"))
        ids = [spec["code"] for spec in names if spec["name"] == step]
        found = (self.plane.workspace.find_by_id(id.removeprefix("azureml:")) for id in ids)
        return [code["properties"]["codeUri"] for code in found if code]

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that were sent."""
        return self.plane.workspace.versions("jobs")

    def edit_blob(self, address: str, change: Callable[[bytes], bytes]) -> None:
        """Change a blob for as long as the test lasts."""
        storage = self.plane.workspace.storage
        container, name = storage.locate(address)
        blob = storage.service.get_blob_client(container, name)
        before = blob.download_blob().readall()
        blob.upload_blob(change(before), overwrite=True)
        self.undo.append(lambda: blob.upload_blob(before, overwrite=True))

    def add_blob(self, address: str, content: bytes) -> None:
        """Add a blob for as long as the test lasts."""
        storage = self.plane.workspace.storage
        container, name = storage.locate(address)
        blob = storage.service.get_blob_client(container, name)
        blob.upload_blob(content)
        self.undo.append(blob.delete_blob)

    def refusal_of(self, way: Way) -> str:
        """What is told of a way that is refused; nothing was written."""
        words = way.act(self) or SUBMIT
        self.plane.recorder.clear()
        outcome = self.main(*words)
        assert outcome.status == 2, outcome.out
        assert self.jobs() == []
        assert all(request.method == "GET" for request in self.plane.recorder.requests)
        return plain(outcome.err, self.folder)


class RunStand(WorkspaceStand):
    """The same, and the release's job, which waits: ``job`` is what Azure ML has of it."""

    job: dict[str, Any]

    def node(self, name: str) -> dict[str, Any]:
        """A step of the job, as it was sent."""
        return self.job["jobs"][name]

    def refusal_of(self, way: Way) -> str:
        """What the steps tell when the job runs that somebody did something to."""
        outcome = self.main(*SUBMIT)
        assert outcome.status == 0, outcome.err
        name = outcome.out.partition("\n")[0]
        self.job = self.plane.workspace.get(f"jobs/{name}")["properties"]
        way.act(self)
        # With a store of its own, lest what another way made is reused.
        folder = self.folder.parent / "cluster"
        self.plane.executor = Executor(self.plane.workspace, folder, self.plane.tracking.variables)
        self.plane.executor(name)
        self.plane.executor.wait()
        outcome = self.main("status", name)
        assert outcome.status == 1, outcome.out
        told = [line for line in outcome.out.splitlines() if re.search(r"^error|\[\w+ > ", line)]
        assert told, outcome.out
        return plain("\n".join(told) + "\n", self.folder)


def restore(plane: ControlPlane, resources: dict[str, dict[str, Any]]) -> None:
    """Let a workspace hold what it held."""
    plane.workspace.resources = copy.deepcopy(resources)
    plane.workspace.step_runs.clear()
    plane.workspace.tags.clear()
    plane.recorder.clear()
