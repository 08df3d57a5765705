"""Azure ML on loopback for a session, an empty workspace for each test."""

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.ai.ml import Input, dsl, load_component
from azure.ai.ml.entities import AmlCompute, BuildContext, Data, Environment, Model
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob._shared.base_client import TransportWrapper
from loopback.contract import ROOT
from loopback.control_plane import ControlPlane
from loopback.storage import missing_program
from measured_models import registry, served  # noqa: F401  # fixtures
from toy_project import JOIN, MAKE, TOY, Outcome, ToyProject, forget_project

from tfhub_blocks.commands.doctor import all_needs
from tfhub_blocks.records.environment.installed_packages import definition_version

AZURITE = ROOT / ".azurite"


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The servers. Take ``azure`` for an empty workspace in them."""
    if missing := missing_program(AZURITE):
        pytest.skip(missing)
    plane = ControlPlane(tmp_path_factory.mktemp("azure"), AZURITE).start()
    yield plane
    plane.stop()


@pytest.fixture
def azure(control_plane: ControlPlane, monkeypatch: Any) -> Iterator[ControlPlane]:
    """An empty workspace, and the variables that lead this process and its children to it.

    Fails a test that asked a host or for a thing that is not part of it.
    """
    control_plane.reset()
    # What the SDK submitted holds on to the ids that it got: other workspaces do not know them.
    forget_project()
    for name, value in control_plane.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(control_plane.temporary))
    _shorten_waits(monkeypatch, 1.0)
    yield control_plane
    control_plane.end_jobs()
    assert control_plane.problems() == []


@pytest.fixture
def quick_retries(azure: ControlPlane, monkeypatch: Any) -> None:
    """The SDK's retries, which wait up to a minute, wait at most 50 ms."""
    _shorten_waits(monkeypatch, 0.05)


def _shorten_waits(monkeypatch: Any, longest_s: float) -> None:
    """Bound what the SDK waits before it asks again, which is up to a minute on a busy machine."""
    sleep = time.sleep
    for transport in (RequestsTransport, TransportWrapper):
        wait = lambda _, s: sleep(min(s, longest_s))  # noqa: E731
        monkeypatch.setattr(transport, "sleep", wait, raising=False)


@pytest.fixture
def ml_client(azure: ControlPlane) -> Any:
    """A plain ``MLClient`` for the empty workspace."""
    return azure.client()


@dataclass
class Furnished:
    """A workspace in which ``transfer_learning`` can be submitted."""

    plane: ControlPlane
    client: Any
    folder: Path

    def job(self, **inputs: Any) -> Any:
        """A job of the pipeline transfer_learning, not yet submitted."""
        from tfhub_blocks.pipelines.transfer_learning import transfer_learning

        images = Input(type="uri_folder", path="azureml:images:1")
        encoder = Input(type="custom_model", path="azureml:encoder:1")
        job = transfer_learning(**{"source": images, "encoder": encoder, "owner": "me"} | inputs)
        job.settings.default_compute = "cpu-cluster"
        return job


@pytest.fixture
def furnished(ml_client: Any, azure: ControlPlane, tmp_path: Path) -> Furnished:
    """Compute, both environments, a data asset and a model, and an empty record."""
    cluster = AmlCompute(name="cpu-cluster", size="Standard_DS3_v2", max_instances=2)
    ml_client.compute.begin_create_or_update(cluster).result()
    for name in ("cpu", "gpu"):
        folder = ROOT / "components" / "environments" / name
        ml_client.environments.create_or_update(
            Environment(
                name=f"tfhub-blocks-{name}",
                version=definition_version(folder),
                build=BuildContext(path=str(folder)),
            )
        )
    for name in ("images", "encoder"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "file").write_text(name)
    images = Data(name="images", version="1", path=str(tmp_path / "images"), type="uri_folder")
    ml_client.data.create_or_update(images)
    encoder = Model(name="encoder", version="1", path=tmp_path / "encoder", type="custom_model")
    ml_client.models.create_or_update(encoder)
    azure.recorder.clear()
    return Furnished(azure, ml_client, tmp_path)


TOY_ENVIRONMENT = "azureml:toy:1"
TOY_MAKE = """
import argparse
import os
import pathlib
import signal
import time

parser = argparse.ArgumentParser()
for name in ("source", "text", "count", "maybe", "note", "made"):
    parser.add_argument(f"--{name}")
given = parser.parse_args()
word = (pathlib.Path(given.source) / "file").read_text()
print(f"making {given.count} of {word}", flush=True)
starts = pathlib.Path(given.made) / "starts"
starts.write_text(f"{starts.read_text() if starts.exists() else ''}{os.getpid()} ")
if given.text == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if given.text in ("deaf", "lost") and len(starts.read_text().split()) == 1:
    time.sleep(600)
time.sleep({"slow": 4, "endless": 600}.get(given.text, 0))
(pathlib.Path(given.made) / "variable").write_text(os.environ.get("NOTE", ""))
assert given.text != "fail", "it was told to fail"
text = f"{word} {given.text} {given.count} {given.maybe}|"
(pathlib.Path(given.made) / "made.txt").write_text(text)
"""
TOY_JOIN = """
import pathlib
import sys

left, right, joined = map(pathlib.Path, sys.argv[1:])
joined.write_text("".join((p / "made.txt").read_text() for p in (left, right)))
"""
TOY_COMPONENTS = {
    "make": f"""
name: make
version: 1
type: command
environment: {TOY_ENVIRONMENT}
code: ./make
command: >-
  python step.py --source '${{{{inputs.source}}}}' --text '${{{{inputs.text}}}}'
  --count ${{{{inputs.count}}}} $[[--maybe ${{{{inputs.maybe}}}}]]
  $[[--note '${{{{inputs.note}}}}']] --made '${{{{outputs.made}}}}'
inputs:
  source: {{type: uri_folder}}
  text: {{type: string, enum: [a, b, fail, slow, endless, lost, deaf], default: a}}
  count: {{type: integer, min: 1, max: 9, default: 1}}
  maybe: {{type: number, optional: true}}
  note: {{type: string, optional: true}}
outputs:
  made: {{type: uri_folder}}
""",
    "join": f"""
name: join
version: 1
type: command
environment: {TOY_ENVIRONMENT}
code: ./join
command: >-
  python step.py '${{{{inputs.left}}}}' '${{{{inputs.right}}}}' '${{{{outputs.joined}}}}'
inputs:
  left: {{type: uri_folder}}
  right: {{type: uri_folder}}
outputs:
  joined: {{type: uri_file}}
""",
}


@dataclass
class Toys:
    """A workspace with a pipeline of three small steps, which takes a second."""

    plane: ControlPlane
    client: Any
    folder: Path

    def component(self, name: str) -> Any:
        """A fresh component: one that was submitted is bound to where it was submitted."""
        return load_component(self.folder / f"{name}.yaml")

    def job(self, **inputs: Any) -> Any:
        """A job of two makers and one that joins what they made, not yet submitted."""
        make, join = self.component("make"), self.component("join")

        @dsl.pipeline(name="toy", default_compute="cpu-cluster")
        def toy(
            source: Input(type="uri_folder"),
            text: Input(type="string") = "a",
            count: Input(type="integer") = 3,
            maybe: Input(type="number", optional=True) = None,
            note: Input(type="string", optional=True) = None,
        ) -> Any:
            left = make(source=source, text=text, maybe=maybe, note=note)
            right = make(source=source, text="b", count=count)
            joined = join(left=left.outputs.made, right=right.outputs.made)
            return {"joined": joined.outputs.joined, "left": left.outputs.made}

        source = Input(type="uri_folder", path="azureml:words:1")
        return toy(**{"source": source, **inputs})


@pytest.fixture
def toys(ml_client: Any, azure: ControlPlane, tmp_path: Path) -> Toys:
    """A workspace with a pipeline of three small steps, and an empty record."""
    for name, step in (("make", TOY_MAKE), ("join", TOY_JOIN)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "step.py").write_text(step)
        (tmp_path / f"{name}.yaml").write_text(TOY_COMPONENTS[name])
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "file").write_text("hello")
    cluster = AmlCompute(name="cpu-cluster", size="Standard_DS3_v2", max_instances=2)
    ml_client.compute.begin_create_or_update(cluster).result()
    image = Environment(name="toy", version="1", image="example.org/toy:1")
    ml_client.environments.create_or_update(image)
    data = Data(name="words", version="1", path=str(tmp_path / "words"), type="uri_folder")
    ml_client.data.create_or_update(data)
    azure.recorder.clear()
    return Toys(azure, ml_client, tmp_path)


@dataclass(frozen=True)
class Published:
    """The assets of a workspace, to be put into another one without publishing them again."""

    subscription: str
    container: str
    resources: str
    blobs: dict[str, tuple[bytes, dict[str, str]]]

    @classmethod
    def of(cls, plane: ControlPlane) -> "Published":
        """The assets that are there. The containers of code are shared from now on."""
        storage, workspace = plane.storage, plane.workspace
        blobs = {}
        for container in storage.service.list_containers():
            if container.name != storage.container:
                storage.kept.add(container.name)
        client = storage.service.get_container_client(storage.container)
        for blob in client.list_blobs(include=["metadata"]):
            content = client.download_blob(blob.name).readall()
            blobs[blob.name] = (content, blob.metadata)
        return cls(
            workspace.subscription, storage.container, json.dumps(workspace.resources), blobs
        )

    def put_into(self, plane: ControlPlane) -> None:
        """Add the assets to an empty workspace."""
        storage, workspace = plane.storage, plane.workspace
        text = self.resources.replace(self.subscription, workspace.subscription)
        workspace.resources.update(json.loads(text.replace(self.container, storage.container)))
        client = storage.service.get_container_client(storage.container)
        for name, (content, metadata) in self.blobs.items():
            client.upload_blob(name, content, metadata=metadata)


# What each project published in this session, by the contents of its files.
_PUBLISHED: dict[str, Published] = {}


def declared_actions(command: str, action: str = "", *_: str) -> set[str] | None:
    """What the module of a command declares, with all its options; None if it declares nothing."""
    found: set[str] = set()
    for needs in all_needs():
        name, _, rest = needs.command.partition(" ")
        is_action = rest[:1].islower() and rest.partition(" ")[0] != action
        if name == command and not is_action:
            found |= set(needs.actions)
    return found or None


@dataclass
class Project(ToyProject):
    """A toy project in a folder with the workspace's ``config.json``."""

    plane: ControlPlane

    def main(self, *words: str, anew: bool = True) -> Outcome:
        """Run a command; an action of Azure that its module does not declare fails the test."""
        surroundings = self.plane.workspace.surroundings
        surroundings.declared = declared_actions(*words)
        try:
            return super().main(*words, anew=anew)
        finally:
            surroundings.declared = None

    def copy(self, source: Path, target: Path) -> None:
        shutil.copytree(source, target)

    def move(self, target: Path) -> None:
        """Let the project lie elsewhere."""
        self.copy(self.folder, target)
        os.chdir(target)
        self.folder = target

    def publish(self, *words: str) -> Outcome:
        """Publish the toy's environment, steps and data, and nothing else."""
        return self.main("publish", "make", "join", "--data", "words=src", *words)

    def furnish(self, run: bool = True) -> None:
        """Publish it, make its cluster, and let jobs run."""
        self._publish_once()
        cluster = AmlCompute(name="cpu-cluster", size="Standard_DS3_v2", max_instances=2)
        self.plane.client().compute.begin_create_or_update(cluster).result()
        if run:
            self.plane.run_jobs()
        self.plane.recorder.clear()

    def _publish_once(self) -> None:
        """Publish it, or put what an equal project published into the workspace."""
        files = {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name != "config.json"
        }
        key = repr(files)
        if key not in _PUBLISHED:
            self.publish()
            _PUBLISHED[key] = Published.of(self.plane)
        else:
            _PUBLISHED[key].put_into(self.plane)

    @property
    def words(self) -> str:
        """The reference of the data, if that was published; else of none that is there."""
        published = self.plane.workspace.versions("data", "words")
        return f"azureml:words:{published[0]['name'] if published else 1}"

    def submit(self, *words: str, anew: bool = True) -> Outcome:
        own = any(word.startswith("source=") for word in words)
        source = () if own else ("--set", f"source={self.words}")
        return self.main("submit", "toy", "--profile", "toy", *source, *words, anew=anew)

    def submitted(self, *words: str) -> str:
        """Submit the toy pipeline, wait, and give the job's name."""
        outcome = self.submit("--wait", *words)
        return outcome.out.partition("\n")[0]

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that are there, the newest first."""
        return self.plane.workspace.versions("jobs")

    def normal(self, text: str) -> str:
        """Text without what differs from run to run."""
        text = re.sub(r"\d{8}T\d{6}Z-[0-9a-f]{6}", "TIME", text)
        text = re.sub(r"/subscriptions/[0-9a-f-]{36}", "/subscriptions/ID", text)
        text = re.sub(r"\b[0-9a-f]{12}\b", "DIGEST______", text)
        text = re.sub(r"^\w+ +(Running|Queued|Preparing)\b.*\n", "", text, flags=re.M)
        text = text.replace(str(self.folder), "PROJECT")
        return re.sub(r"\b\d+\.\d s\b", "N s", text)

    def versions(self) -> list[str]:
        """The short ids of everything that was published or submitted."""
        kinds = ("environments", "components", "data", "models", "jobs", "schedules")
        found = (key for key in self.plane.workspace.resources if key.split("/")[0] in kinds)
        return sorted(found)


@pytest.fixture
def project(azure: ControlPlane, tmp_path: Path, monkeypatch: Any, capfd: Any) -> Any:
    """A toy project whose steps are pinned to an environment that it defines."""
    folder = tmp_path / "work"
    project = Project(folder, capfd, azure)
    environment = folder / "components" / "environments" / "toy"
    project.write("components/environments/toy/Dockerfile", "FROM example.org/base:1\n")
    project.write("components/environments/toy/requirements.in", "")
    project.write("components/environments/toy/requirements.lock", "# python: 3.11\n")
    project.write(
        "components/environments/toy/environment.yaml", "name: toy\nowner: us\npurpose: a toy\n"
    )
    pin = f"azureml:toy:{definition_version(environment)}"
    for name, text in (("make", MAKE), ("join", JOIN)):
        project.write(f"components/{name}/component.py", text.replace("azureml:x:1", pin))
    project.write("pipelines/toy.py", TOY)
    project.write("src/word", "hello")
    project.write("pipelines/profiles/toy.toml", TOY_PROFILE)
    azure.write_config(folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("USER", "tester")
    # An edit within a second leaves a .pyc that looks current.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield project
    azure.end_jobs()  # before their folders are deleted
    forget_project()


TOY_PROFILE = """
format_version = 1
description = "x"
engine = "azureml"
environment_policy = "record"
encoder_policy = "experiment"
[job]
owner = "$USER"
cost_centre = "toys"
[roles.cpu]
compute = "cpu-cluster"
timeout_s = 60
[clusters.cpu-cluster]
size = "Standard_DS3_v2"
max_nodes = 2
"""


@pytest.fixture
def own_components() -> list[Any]:
    """The components of this repository."""
    from tfhub_blocks import components

    return [getattr(components, name) for name in components.names()]
