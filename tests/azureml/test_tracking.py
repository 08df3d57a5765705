"""MLflow where its users look for it: the workspace's tracking URI, through azureml-mlflow."""

import json
from pathlib import Path

import mlflow
import numpy as np
import pytest
from azure.ai.ml import Input, Output, dsl, load_component
from azure.ai.ml.entities import Data
from loopback.requests import Fault
from mlflow import MlflowClient
from mlflow.exceptions import RestException
from PIL import Image

from tfhub_blocks.compute.registration import model_registry


@pytest.fixture
def tracked(ml_client):
    """The MLflow client of the workspace, which this process uses."""
    mlflow.set_tracking_uri(ml_client.workspaces.get("loopback").mlflow_tracking_uri)
    yield MlflowClient()
    mlflow.set_tracking_uri(None)


def save_model(folder):
    (folder / "model.py").write_text(
        "import mlflow\n"
        "class Upper(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, model_input: list[str]) -> list[str]:\n"
        "        return [text.upper() for text in model_input]\n"
        "mlflow.models.set_model(Upper())\n"
    )
    mlflow.pyfunc.save_model(folder / "model", python_model=folder / "model.py")
    return folder / "model"


def test_run_is_tracked_and_found(tracked, tmp_path):
    (tmp_path / "notes").write_text("hello")
    experiment = tracked.create_experiment("by-hand")
    with mlflow.start_run(experiment_id=experiment, run_name="mine") as run:
        mlflow.log_param("depth", 3)
        mlflow.log_metrics({"accuracy": 0.5})
        mlflow.set_tag("owner", "me")
        mlflow.log_artifacts(str(tmp_path), "files")
    [found] = mlflow.search_runs(experiment_names=["by-hand"], output_format="list")
    assert found.info.run_name == "mine"
    assert (found.data.params, found.data.metrics) == ({"depth": "3"}, {"accuracy": 0.5})
    assert found.data.tags["owner"] == "me"
    # Not by the run's id: for that MLflow 3 asks for logged models, which Azure ML has not.
    address = f"{run.info.artifact_uri}/files/notes"
    file = mlflow.artifacts.download_artifacts(address, dst_path=str(tmp_path / "back"))
    assert Path(file).read_text() == "hello"


def test_registered_model_is_a_model_of_the_workspace(tracked, ml_client, tmp_path):
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(save_model(tmp_path)), "model")
    tracked.create_registered_model("upper")
    source = f"{run.info.artifact_uri}/model"
    made = tracked.create_model_version("upper", source, run.info.run_id, tags={"is": "good"})
    found = ml_client.models.get("upper", made.version)
    assert (found.type, found.tags) == ("mlflow_model", {"is": "good"})
    ml_client.models.download("upper", made.version, download_path=str(tmp_path / "back"))
    assert list((tmp_path / "back").rglob("MLmodel"))
    model = mlflow.pyfunc.load_model(f"models:/upper/{made.version}")
    assert model.predict(["hello"]) == ["HELLO"]
    tracked.set_model_version_tag("upper", made.version, "is", "bad")
    assert ml_client.models.get("upper", made.version).tags == {"is": "bad"}


def test_registry_that_does_not_answer_is_no_registry_without_the_model(tracked, azure):
    assert model_registry._find(tracked, "upper", "digest") is None
    azure.recorder.inject(Fault.FORBIDDEN)
    with pytest.raises(RestException):
        model_registry._find(tracked, "upper", "digest")


def test_mistake_has_the_code_of_mlflow_and_the_form_of_azure(tracked):
    tracked.create_registered_model("one")
    with pytest.raises(RestException, match="'ComponentName': 'mlflow'") as caught:
        tracked.create_registered_model("one")
    assert caught.value.error_code == "RESOURCE_ALREADY_EXISTS"


def test_model_that_is_not_there_is_not_registered(tracked, ml_client):
    with mlflow.start_run() as run:
        pass
    tracked.create_registered_model("nothing")
    with pytest.raises(RestException, match="there is no MLflow model"):
        tracked.create_model_version("nothing", f"{run.info.artifact_uri}/model", run.info.run_id)


@pytest.mark.parametrize("_", range(2))
def test_workspace_begins_with_an_empty_registry(tracked, _):
    assert tracked.search_registered_models() == []
    tracked.create_registered_model("one")


TRACKING_STEP = """
import os
import mlflow

with mlflow.start_run(run_name="ignored") as run:
    mlflow.log_metric("answer", 42)
print("tracked into", run.info.run_id, os.environ["AZUREML_RUN_ID"])
"""
TRACKING_COMPONENT = """
name: track
version: 1
type: command
environment: azureml:toy:1
code: ./track
command: python step.py > '${{outputs.log}}'
outputs:
  log: {type: uri_file}
"""


def test_step_tracks_into_its_own_run(toys, tracked, tmp_path):
    (tmp_path / "track").mkdir()
    (tmp_path / "track" / "step.py").write_text(TRACKING_STEP)
    (tmp_path / "track.yaml").write_text(TRACKING_COMPONENT)
    track = load_component(tmp_path / "track.yaml")

    @dsl.pipeline(name="tracking", default_compute="cpu-cluster")
    def tracking():
        return {"log": track().outputs.log}

    toys.plane.run_jobs()
    made = toys.client.jobs.create_or_update(tracking(), experiment_name="steps")
    toys.plane.executor.wait()
    [child] = toys.client.jobs.list(parent_job_name=made.name)
    run = tracked.get_run(child.name)
    assert run.data.metrics == {"answer": 42.0}
    assert (run.info.status, run.info.run_name) == ("FINISHED", "track")
    assert run.data.tags["mlflow.parentRunId"] == made.name
    assert tracked.get_run(made.name).info.status == "FINISHED"
    assert tracked.get_experiment(run.info.experiment_id).name == "steps"
    toys.client.jobs.download(made.name, output_name="log", download_path=tmp_path / "got")
    [log] = (p for p in (tmp_path / "got" / "named-outputs").rglob("*") if p.is_file())
    assert log.read_text().endswith(f"tracked into {child.name} {child.name}\n")


@pytest.mark.slow
def test_submitted_pipeline_registers_its_model(furnished, tracked, saved_encoder, tmp_path):
    random = np.random.default_rng(0)
    for label, level in (("dark", 40), ("light", 200)):
        folder = tmp_path / "pictures" / label
        folder.mkdir(parents=True)
        for index in range(80):
            pixels = random.normal(level, 20, (32, 32, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    sources = {"source": tmp_path / "pictures", "encoder": saved_encoder}
    inputs = {}
    for name, path in sources.items():
        data = Data(name=f"small-{name}", version="1", path=str(path), type="uri_folder")
        furnished.client.data.create_or_update(data)
        inputs[name] = Input(type="uri_folder", path=f"azureml:small-{name}:1")
    furnished.plane.run_jobs()
    job = furnished.job(**inputs, unpinned="accept", min_accuracy=0.5, model_name="dark-or-light")
    job.outputs.model = Output(type="mlflow_model", name="head", version="7")
    # What `submit` takes from a profile: nobody decided anything of this encoder.
    job.jobs["imported"].environment_variables = {"TFHUB_BLOCKS_ENCODER_POLICY": "experiment"}
    made = furnished.client.jobs.create_or_update(job, experiment_name="pictures")
    furnished.plane.executor.wait()
    assert furnished.client.jobs.get(made.name).status == "Completed"
    children = {c.display_name: c for c in furnished.client.jobs.list(parent_job_name=made.name)}
    [version] = tracked.search_model_versions("name = 'dark-or-light'")
    assert version.run_id == children["registration"].name
    assert tracked.get_run(children["evaluation"].name).data.metrics["accuracy"] > 0.5
    model = furnished.client.models.get("dark-or-light", version.version)
    assert model.tags["tfhub_blocks.owner"] == "me"
    assert model.tags == version.tags
    output = furnished.client.models.get("head", "7")
    assert (output.type, output.job_name) == ("mlflow_model", made.name)
    furnished.client.jobs.download(made.name, output_name="registration", download_path=tmp_path)
    [file] = (p for p in (tmp_path / "named-outputs").rglob("*") if p.is_file())
    assert json.loads(file.read_text())["version"] == "1"
    kept = furnished.plane.mlflow.database.read_bytes()
    for secret in (furnished.plane.storage.key, *furnished.plane.identity.given):
        assert secret.encode() not in kept
