"""Assets of a registry, which several workspaces share."""

from pathlib import Path

import pytest
from azure.ai.ml import Input, dsl, load_component
from azure.ai.ml.entities import BuildContext, Data, Environment, Model
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError


@pytest.fixture
def registry(azure):
    """A plain ``MLClient`` for an empty registry."""
    azure.add_registry("shared")
    return azure.registry_client("shared")


def folder_with(path: Path, **files: str) -> str:
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / name).write_text(text)
    return str(path)


def test_registry_that_is_not_there_is_not_found(azure):
    with pytest.raises(ResourceNotFoundError):
        azure.registry_client("elsewhere")


def test_environment_of_a_registry_is_built_from_what_was_uploaded(registry, azure, tmp_path):
    path = folder_with(tmp_path / "build", Dockerfile="FROM scratch\n")
    made = registry.environments.create_or_update(
        Environment(name="e", version="1", build=BuildContext(path=path))
    )
    assert made.id == "azureml://registries/shared/environments/e/versions/1"
    assert azure.storage.names(made.build.path)
    assert registry.environments.get("e", "1").version == "1"
    assert [e.name for e in registry.environments.list()] == ["e"]
    assert len([r for r in azure.recorder.requests if "mfeOperationsStatus" in r.path]) >= 2


def test_version_of_an_environment_never_changes(registry):
    for _ in range(2):
        registry.environments.create_or_update(
            Environment(name="e", version="1", image="example.org/a:1")
        )
    with pytest.raises(HttpResponseError, match="immutable"):
        registry.environments.create_or_update(
            Environment(name="e", version="1", image="example.org/a:2")
        )


def test_model_is_registered_and_downloaded(registry, azure, tmp_path):
    path = folder_with(tmp_path / "model", weights="1 2 3")
    registry.models.create_or_update(Model(name="m", version="1", path=path, type="custom_model"))
    registry.models.download("m", "1", download_path=str(tmp_path / "back"))
    [file] = (tmp_path / "back").rglob("weights")
    assert file.read_text() == "1 2 3"


def test_data_is_registered(registry, azure, tmp_path):
    path = folder_with(tmp_path / "data", a="hello")
    made = registry.data.create_or_update(Data(name="d", version="1", path=path, type="uri_folder"))
    azure.storage.download(made.path, tmp_path / "back")
    assert (tmp_path / "back" / "a").read_text() == "hello"


def test_job_takes_everything_from_a_registry(toys, tmp_path):
    toys.plane.add_registry("shared")
    registry = toys.plane.registry_client("shared")
    registry.environments.create_or_update(
        Environment(name="toy", version="1", image="example.org/toy:1")
    )
    words = folder_with(tmp_path / "shared-words", file="shared")
    registry.data.create_or_update(Data(name="words", version="1", path=words, type="uri_folder"))
    shared = (toys.folder / "make.yaml").read_text()
    shared = shared.replace(
        "azureml:toy:1", "azureml://registries/shared/environments/toy/versions/1"
    )
    (toys.folder / "shared.yaml").write_text(shared)
    registry.components.create_or_update(load_component(toys.folder / "shared.yaml"))
    make = registry.components.get("make", "1")
    assert make.id == "azureml://registries/shared/components/make/versions/1"

    @dsl.pipeline(name="shared", default_compute="cpu-cluster")
    def pipeline():
        words = "azureml://registries/shared/data/words/versions/1"
        made = make(source=Input(type="uri_folder", path=words), text="b")
        return {"made": made.outputs.made}

    toys.plane.run_jobs()
    job = toys.client.jobs.create_or_update(pipeline())
    toys.plane.executor.wait()
    assert toys.client.jobs.get(job.name).status == "Completed"
    toys.client.jobs.download(job.name, output_name="made", download_path=tmp_path / "got")
    [made] = (tmp_path / "got").rglob("made.txt")
    assert made.read_text() == "shared b 1 None|"


def test_job_that_asks_a_registry_for_what_it_has_not_is_refused(toys):
    toys.plane.add_registry("shared")
    source = Input(type="uri_folder", path="azureml://registries/shared/data/words/versions/9")
    with pytest.raises(HttpResponseError, match="there is no //registries/shared/data/words"):
        toys.client.jobs.create_or_update(toys.job(source=source))
