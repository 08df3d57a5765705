"""A baked environment on Azure ML: its context holds the encoder, and moved nodes name it."""

import shutil
from pathlib import Path

import pytest
from azure.ai.ml.entities import BuildContext, Environment

from tfhub_blocks.control.environments.environment_bakes import bake, move_steps
from tfhub_blocks.records.environment.installed_packages import definition_version
from tfhub_blocks.records.pins.pins import read_pin

SAMPLE = Path(__file__).parents[2] / ".samples" / "encoder"


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="The sample encoder is missing. Run `make samples`")
def test_steps_run_in_the_environment_that_the_encoder_is_baked_into(
    furnished, azure, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "saved_model").symlink_to(SAMPLE / "saved_model")
    text = (SAMPLE / "encoder.toml").read_text()
    (tmp_path / "sample" / "encoder.toml").write_text(
        text.replace('loading = "undecided"', 'loading = "baked"')
    )
    baked = bake(tmp_path / "sample", "gpu", None)
    furnished.client.environments.create_or_update(
        Environment(
            name=baked.name, version=baked.version, build=BuildContext(path=str(Path(baked.where)))
        )
    )
    size_bytes = sum(f.size_bytes for f in read_pin(SAMPLE / "encoder.toml").files.values())
    assert azure.recorder.uploaded_bytes > size_bytes

    job = furnished.job()
    move_steps(job, {"tfhub-blocks-gpu": baked.name})
    submitted = furnished.client.jobs.create_or_update(job)
    nodes = azure.workspace.get(f"jobs/{submitted.name}")["properties"]["jobs"]
    components = {n: azure.workspace.find_by_id(node["componentId"]) for n, node in nodes.items()}
    environments = {
        name: component["properties"]["componentSpec"]["environment"].rpartition("/environments/")[
            2
        ]
        for name, component in components.items()
    }
    moved = {n for n, e in environments.items() if e == f"{baked.name}/versions/{baked.version}"}
    assert moved == {"features", "evaluation"}

    again = furnished.client.jobs.create_or_update(furnished.job())
    node = azure.workspace.get(f"jobs/{again.name}")["properties"]["jobs"]["features"]
    assert node["componentId"] != nodes["features"]["componentId"]


@pytest.fixture
def baked(project, imported_encoder):
    """The toy's environment with an encoder baked in, and a profile that says so."""
    project.copy(imported_encoder, project.folder / "encoder")
    pin = project.folder / "encoder/encoder.toml"
    pin.write_text(pin.read_text().replace('loading = "undecided"', 'loading = "baked"'))
    outcome = project.main("env", "bake", "encoder", "--onto", "toy", "--to", "baked")
    assert outcome.status == 0, outcome.err
    text = project.read("pipelines/profiles/toy.toml")
    moved = '[environments]\ntoy = "tfhub-blocks-baked"\n'
    project.write("pipelines/profiles/moved.toml", text + moved)
    return project.folder / "components/environments/baked"


def test_steps_are_published_for_the_environment_that_a_profile_moves_them_to(
    project, azure, baked
):
    outcome = project.main("publish", "make", "--profile", "moved")
    assert outcome.status == 0, outcome.err
    [environment] = azure.workspace.versions("environments")
    [make] = azure.workspace.versions("components", "make")
    named = make["properties"]["componentSpec"]["environment"]
    assert environment["id"].endswith(f"/tfhub-blocks-baked/versions/{definition_version(baked)}")
    assert named.removeprefix("azureml:") == environment["id"]


def test_environment_without_its_encoder_is_not_published(project, azure, baked):
    shutil.rmtree(baked / "encoders")
    outcome = project.main("publish", "make", "--profile", "moved")
    assert outcome.status == 2
    assert "is missing from encoders/ in this folder, so its image cannot be built" in outcome.err
    assert project.versions() == []
