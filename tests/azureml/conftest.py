"""Azure ML on loopback for a session, an empty workspace for each test."""

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
from loopback.contract import ROOT, openapi_folder
from loopback.control_plane import ControlPlane
from loopback.storage import missing_program

AZURITE = ROOT / ".azurite"


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The servers. Take ``azure`` for an empty workspace in them."""
    openapi = openapi_folder()
    if openapi is None:
        pytest.skip(
            "Microsoft's OpenAPI files are not here: set AZURE_OPENAPI_DIR to a copy of "
            "github.com/Azure/azure-rest-api-specs (its folder `specification` with "
            "machinelearningservices and common-types)"
        )
    if missing := missing_program(AZURITE):
        pytest.skip(missing)
    started = time.monotonic()
    plane = ControlPlane(tmp_path_factory.mktemp("azure"), AZURITE, openapi).start()
    plane.start_s = time.monotonic() - started
    yield plane
    plane.stop()


@pytest.fixture
def azure(control_plane: ControlPlane, monkeypatch: Any) -> Iterator[ControlPlane]:
    """An empty workspace, and the variables that lead this process and its children to it.

    Fails a test that asked a host or for a thing that is not part of it.
    """
    control_plane.reset()
    # What the SDK submitted holds on to the ids that it got: other workspaces do not know them.
    for name in [n for n in sys.modules if n.partition(".")[0] in ("components", "pipelines")]:
        del sys.modules[name]
    for name, value in control_plane.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(control_plane.temporary))
    yield control_plane
    control_plane.end_jobs()
    assert control_plane.problems() == []


@pytest.fixture
def quick_retries(monkeypatch: Any) -> None:
    """The SDK's retries, which wait up to a minute, wait at most 50 ms."""
    sleep = time.sleep
    for transport in (RequestsTransport, TransportWrapper):
        monkeypatch.setattr(transport, "sleep", lambda _, s: sleep(min(s, 0.05)), raising=False)


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
        from pipelines.transfer_learning import transfer_learning

        images = Input(type="uri_folder", path="azureml:images:1")
        encoder = Input(type="custom_model", path="azureml:encoder:1")
        job = transfer_learning(**{"source": images, "encoder": encoder, "owner": "me"} | inputs)
        job.settings.default_compute = "cpu-cluster"
        return job


@pytest.fixture
def furnished(ml_client: Any, azure: ControlPlane, tmp_path: Path) -> Furnished:
    """Compute, both environments, a data asset and a model, and an empty record."""
    from tfhub_blocks.records.environments import definition_version

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
import pathlib
import time

parser = argparse.ArgumentParser()
for name in ("source", "text", "count", "maybe", "note", "made"):
    parser.add_argument(f"--{name}")
given = parser.parse_args()
word = (pathlib.Path(given.source) / "file").read_text()
print(f"making {given.count} of {word}", flush=True)
time.sleep({"slow": 4, "endless": 600}.get(given.text, 0))
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
  text: {{type: string, enum: [a, b, fail, slow, endless], default: a}}
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
        return toy(source=source, **inputs)


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
