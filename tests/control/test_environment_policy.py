"""What a run does where this machine is not the environment that its steps are pinned to."""

import json
import sys
from pathlib import Path

import pytest

from tfhub_blocks.records.environment.installed_packages import (
    definition_version,
    installed_packages,
)

NONE_REUSED = {"left": False, "right": False, "joined": False}
ALL_REUSED = dict.fromkeys(NONE_REUSED, True)


@pytest.fixture
def pin(project):
    """Pins the toy's first step to what is installed here, changed by some versions."""

    def pin(**changes):
        installed = {k: v for k, v in installed_packages().items() if k != "pip"} | changes
        python = ".".join(map(str, sys.version_info[:2]))
        lines = "".join(f"{name}=={version}\n" for name, version in installed.items())
        project.write(
            "components/environments/toy/requirements.lock", f"# python: {python}\n{lines}"
        )
        project.write("components/environments/toy/Dockerfile", "FROM a:1\n")
        path = project.write("components/environments/toy/environment.yaml", "name: toy-env\n")
        component = project.folder / "components/make/component.py"
        version = definition_version(path.parent)
        component.write_text(
            component.read_text().replace("azureml:x:1", f"azureml:toy-env:{version}")
        )
        return version

    return pin


@pytest.fixture
def profile(project):
    """Gives the arguments for a profile with a policy."""

    def profile(policy):
        project.limit()
        path = project.folder / "pipelines/profiles/limited.toml"
        line = f'environment_policy = "{policy}"\n'
        path.rename(path.with_name(f"{policy}.toml"))
        path = path.with_name(f"{policy}.toml")
        path.write_text(path.read_text().replace("[roles", f"{line}[roles", 1))
        return ["--profile", policy]

    return profile


def test_snapshot_carries_the_lock_of_its_environment(project, pin):
    version = pin()
    record = project.run().record
    [text] = [
        path.read_text()
        for path in Path(record["folder"]).glob("steps/left/code/tfhub_blocks/environment.lock")
    ]
    assert text.startswith(f"# environment: toy-env:{version}\n# python: 3.")
    assert "\ntomli-w==" in text
    assert not list(Path(record["folder"]).glob("steps/joined/code/**/environment.lock"))


def test_step_pinned_to_another_version_carries_no_lock(project, pin):
    pin()
    project.write("components/environments/toy/Dockerfile", "FROM a:2\n")
    folder = Path(project.run().record["folder"])
    assert not list(folder.glob("steps/left/code/**/environment.lock"))


def test_warning_reaches_whoever_runs(project, pin, profile):
    pin(mlflow="0.1")
    outcome = project.run(*profile("warn"))
    assert outcome.status == 0
    [warning] = outcome.record["steps"]["left"]["warnings"]
    assert "which the step requires: mlflow is " in warning
    assert "warning: left, right: the environment differs from toy-env:" in outcome.err


def test_local_profile_records_and_is_silent(project, pin):
    pin(mlflow="0.1")
    record = project.run().record
    assert record["steps"]["left"]["warnings"] == []
    path = Path(record["steps"]["left"]["outputs"]["made"]) / "lineage.json"
    definition = json.loads(path.read_text())["predicate"]["buildDefinition"]
    facts = definition["internalParameters"]["facts"]["environment"]
    assert facts["other"]["mlflow"][0] == "0.1"


def test_refusal_fails_the_step(project, pin, profile):
    pin(mlflow="0.1")
    outcome = project.run(*profile("refuse"))
    assert outcome.status == 1
    assert (
        "locked is 0.1. Expected exactly the locked packages"
        in outcome.record["steps"]["left"]["error"]
    )


@pytest.mark.slow
def test_environment_variable_counts_where_the_profile_is_silent(
    project, pin, monkeypatch, profile
):
    pin(mlflow="0.1")
    project.limit()
    monkeypatch.setenv("TFHUB_BLOCKS_ENVIRONMENT_POLICY", "refuse")
    assert project.run("--profile", "limited").status == 1
    assert project.run(*profile("record")).status == 0


@pytest.mark.slow
def test_what_was_not_held_to_the_lock_is_not_reused_where_it_is(project, pin, profile):
    pin()
    assert project.run().status == 0
    strict = profile("refuse")
    assert project.run(*strict).reused() == NONE_REUSED
    assert project.run(*strict).reused() == ALL_REUSED
    assert project.run().reused() == ALL_REUSED


def test_unknown_policy_in_a_profile_is_told(project, profile, golden):
    outcome = project.main("run", "toy", *profile("refues"))
    assert outcome.status == 2
    golden("error_profile_policy", project.normal(outcome.err))


def test_what_was_made_in_an_experiment_is_not_reused_in_production(project, pin, monkeypatch):
    project.limit()
    monkeypatch.setenv("TFHUB_BLOCKS_ENCODER_POLICY", "experiment")
    assert project.run("--profile", "limited").reused() == NONE_REUSED
    monkeypatch.delenv("TFHUB_BLOCKS_ENCODER_POLICY")
    assert project.run("--profile", "limited").reused() == NONE_REUSED
    assert project.run("--profile", "limited").reused() == ALL_REUSED
