from pathlib import Path

import pytest
from azure.ai.ml.entities import AmlCompute, BuildContext, Data, Environment, Model
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from loopback.lists import PAGE
from loopback.resources import NO_QUOTA


def folder_with(path: Path, **files: str) -> str:
    path.mkdir(exist_ok=True)
    for name, text in files.items():
        (path / name).write_text(text)
    return str(path)


def test_workspace_is_found_by_name_and_in_the_list(ml_client):
    found = ml_client.workspaces.get("loopback")
    assert found.mlflow_tracking_uri
    assert found.discovery_url.startswith("https://westeurope.api.azureml.ms")
    assert [workspace.name for workspace in ml_client.workspaces.list()] == ["loopback"]


def test_another_workspace_is_not_found(ml_client):
    with pytest.raises(ResourceNotFoundError):
        ml_client.workspaces.get("elsewhere")


def test_compute_is_made_in_several_polls_and_deleted(ml_client, azure):
    cluster = AmlCompute(name="cluster", size="Standard_DS3_v2", max_instances=1)
    made = ml_client.compute.begin_create_or_update(cluster).result()
    assert made.provisioning_state == "Succeeded"
    polls = [r for r in azure.recorder.requests if "mfeOperationsStatus" in r.path]
    assert len(polls) >= 2
    ml_client.compute.begin_delete("cluster").result()
    assert list(ml_client.compute.list()) == []


def test_refused_size_is_told_in_the_words_of_azure(ml_client, azure):
    azure.workspace.refused_sizes["standard_nc6"] = NO_QUOTA
    with pytest.raises(HttpResponseError, match="total vCPU quota of 0") as caught:
        ml_client.compute.begin_create_or_update(
            AmlCompute(name="cluster", size="Standard_NC6", max_instances=1)
        )
    assert (caught.value.status_code, caught.value.error.code) == (400, "BadRequest")


def test_lists_come_in_pages(ml_client, azure):
    names = {f"e{number}" for number in range(2 * PAGE + 1)}
    for name in names:
        ml_client.environments.create_or_update(
            Environment(name=name, version="1", image="example.org/a:1")
        )
    azure.recorder.clear()
    assert {environment.name for environment in ml_client.environments.list()} == names
    assert len(azure.recorder.requests) == 3


def test_data_asset_lies_in_storage(ml_client, azure, tmp_path):
    path = folder_with(tmp_path / "data", a="hello", b="world")
    made = ml_client.data.create_or_update(
        Data(name="d", version="1", path=path, type="uri_folder")
    )
    azure.storage.download(made.path, tmp_path / "back")
    assert {p.name: p.read_text() for p in (tmp_path / "back").iterdir()} == {
        "a": "hello",
        "b": "world",
    }
    assert azure.recorder.uploaded_bytes == 10
    assert ml_client.data.get("d", label="latest").version == "1"
    assert [data.name for data in ml_client.data.list()] == ["d"]


def test_same_data_again_sends_no_bytes(ml_client, azure, tmp_path):
    path = folder_with(tmp_path / "data", a="hello")
    for _ in range(2):
        azure.recorder.clear()
        ml_client.data.create_or_update(Data(name="d", version="1", path=path, type="uri_folder"))
    assert azure.recorder.uploaded_bytes == 0


def test_version_of_data_never_changes(ml_client, tmp_path):
    path = folder_with(tmp_path / "data", a="hello")
    ml_client.data.create_or_update(Data(name="d", version="1", path=path, type="uri_folder"))
    folder_with(tmp_path / "data", a="other")
    with pytest.raises(HttpResponseError, match="Asset paths cannot be updated"):
        ml_client.data.create_or_update(Data(name="d", version="1", path=path, type="uri_folder"))
    made = ml_client.data.create_or_update(Data(name="d", path=path, type="uri_folder"))
    assert made.version == "2"


def test_tags_of_a_version_may_change(ml_client, tmp_path):
    path = folder_with(tmp_path / "data", a="hello")
    for tag in ("one", "two"):
        ml_client.data.create_or_update(
            Data(name="d", version="1", path=path, type="uri_folder", tags={"is": tag})
        )
    assert ml_client.data.get("d", "1").tags == {"is": "two"}


def test_data_that_is_not_in_storage_is_refused(ml_client, azure):
    path = "azureml://datastores/workspaceblobstore/paths/nowhere"
    with pytest.raises(HttpResponseError, match="there is no blob"):
        ml_client.data.create_or_update(Data(name="d", version="1", path=path, type="uri_folder"))


def test_folder_is_no_file(ml_client, azure, tmp_path):
    path = folder_with(tmp_path / "data", a="hello")
    made = ml_client.data.create_or_update(Data(name="d", path=path, type="uri_folder"))
    with pytest.raises(HttpResponseError, match="is no uri_file"):
        ml_client.data.create_or_update(Data(name="e", path=made.path, type="uri_file"))


def test_model_is_registered_and_downloaded(ml_client, tmp_path):
    path = folder_with(tmp_path / "model", weights="1 2 3")
    ml_client.models.create_or_update(Model(name="m", path=path, type="custom_model"))
    ml_client.models.download("m", "1", download_path=str(tmp_path / "back"))
    [file] = (tmp_path / "back").rglob("weights")
    assert file.read_text() == "1 2 3"


def test_environment_is_built_from_what_was_uploaded(ml_client, azure, tmp_path):
    path = folder_with(tmp_path / "build", Dockerfile="FROM scratch\n")
    made = ml_client.environments.create_or_update(
        Environment(name="e", version="1", build=BuildContext(path=path))
    )
    assert azure.storage.names(made.build.path)
    assert ml_client.environments.get("e", label="latest").version == "1"


def test_version_of_an_environment_never_changes(ml_client):
    def image(name: str) -> Environment:
        return Environment(name="e", version="1", image=name)

    ml_client.environments.create_or_update(image("example.org/a:1"))
    ml_client.environments.create_or_update(image("example.org/a:1"))
    with pytest.raises(ResourceExistsError, match="immutable"):
        ml_client.environments.create_or_update(image("example.org/a:2"))


def test_build_context_without_dockerfile_is_refused(ml_client, tmp_path):
    path = folder_with(tmp_path / "build", other="FROM scratch\n")
    with pytest.raises(HttpResponseError, match="dockerfilePath"):
        ml_client.environments.create_or_update(
            Environment(name="e", version="1", build=BuildContext(path=path))
        )


def test_archived_asset_leaves_the_list(ml_client, tmp_path):
    path = folder_with(tmp_path / "data", a="hello")
    ml_client.data.create_or_update(Data(name="d", version="1", path=path, type="uri_folder"))
    ml_client.data.archive("d", version="1")
    assert [data.version for data in ml_client.data.list(name="d")] == []
