"""Azure ML on loopback for a session, an empty workspace for each test."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob._shared.base_client import TransportWrapper
from loopback.contract import ROOT, openapi_folder
from loopback.control_plane import ControlPlane
from loopback.storage import missing_program

AZURITE = ROOT / ".azurite"
START_LIMIT_S = 10.0


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
    yield control_plane
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
        from azure.ai.ml import Input

        from pipelines.transfer_learning import transfer_learning

        images = Input(type="uri_folder", path="azureml:images:1")
        encoder = Input(type="uri_folder", path="azureml:encoder:1")
        job = transfer_learning(**{"source": images, "encoder": encoder, "owner": "me"} | inputs)
        job.settings.default_compute = "cpu-cluster"
        return job


@pytest.fixture
def furnish(ml_client: Any, azure: ControlPlane, tmp_path: Path) -> Callable[[], Furnished]:
    """Call it for compute, both environments and two data assets; the record then is empty."""
    from azure.ai.ml.entities import AmlCompute, BuildContext, Data, Environment

    from tfhub_blocks.records.environments import definition_version

    def make() -> Furnished:
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
            data = Data(name=name, version="1", path=str(folder), type="uri_folder")
            ml_client.data.create_or_update(data)
        azure.recorder.clear()
        return Furnished(azure, ml_client, tmp_path)

    return make


@pytest.fixture
def furnished(furnish: Callable[[], Furnished]) -> Furnished:
    """A workspace in which ``transfer_learning`` can be submitted."""
    return furnish()
