"""What is defined here is published, each version once."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from azure.ai.ml import load_component, load_environment
from azure.ai.ml.entities import AmlCompute, Environment
from loopback.contract import ROOT
from loopback.requests import Fault
from release_project import git

KINDS = {"environment", "model", "data", "component"}


def states(outcome):
    """What became of each asset, by its name."""
    lines = (line.split(maxsplit=3) for line in outcome.out.splitlines()[1:])
    return {name: state for kind, name, _, state in lines if kind in KINDS}


def test_publish_puts_what_is_needed_first(project, azure):
    assert states(project.publish()) == dict.fromkeys(["toy", "words", "make", "join"], "published")
    made = [r.path.split("/")[-4] for r in azure.recorder.requests if r.method == "PUT"]
    assert [kind for kind in made if kind in ("environments", "data", "components")] == [
        "environments",
        "data",
        "components",
        "components",
    ]
    make = azure.workspace.versions("components", "make")[0]["properties"]["componentSpec"]
    assert azure.workspace.find_by_id(make["environment"].removeprefix("azureml:"))


def test_publish_again_asks_once_each_and_sends_nothing(project, azure):
    project.publish()
    before = project.versions()
    azure.recorder.clear()
    assert set(states(project.publish()).values()) == {"already exists"}
    # One for each asset, and one for the tags of the workspace.
    assert [r.method for r in azure.recorder.requests] == ["GET"] * 5
    assert project.versions() == before


def test_dry_run_prints_the_plan_and_writes_nothing(project, azure, golden):
    outcome = project.publish("--dry-run")
    golden("publish_dry_run", re.sub(r"\b[0-9a-f]{12}\b", "DIGEST______", outcome.out))
    assert {r.method for r in azure.recorder.requests} == {"GET"}
    assert project.versions() == []


def test_an_edit_publishes_one_step_under_a_version_of_its_own(project):
    project.publish()
    project.write(
        "components/join/component.py", project.read("components/join/component.py") + "#"
    )
    expected = {
        "toy": "already exists",
        "words": "already exists",
        "make": "already exists",
        "join": "published",
    }
    assert states(project.publish()) == expected
    assert len([v for v in project.versions() if v.startswith("components/join/")]) == 2


def test_version_of_a_step_does_not_depend_on_where_its_project_lies(project, tmp_path):
    project.publish()
    before = project.versions()
    project.move(tmp_path / "elsewhere")
    assert set(states(project.publish()).values()) == {"already exists"}
    assert project.versions() == before


def test_same_version_with_other_content_is_refused_and_nothing_is_published(project, azure):
    version = states_versions(project.publish("--dry-run"))["toy"]
    other = Environment(name="toy", version=version, image="example.org/planted:1")
    azure.client().environments.create_or_update(other)
    outcome = project.publish()
    assert outcome.status == 2
    assert "[publish > environment toy] version" in outcome.err
    assert "Nothing was published" in outcome.err
    assert project.versions() == [f"environments/toy/versions/{version}"]
    assert project.publish("--dry-run").status == 1


def states_versions(outcome):
    lines = (line.split() for line in outcome.out.splitlines()[1:])
    return {name: version for kind, name, version, *_ in lines if kind in KINDS}


def test_half_finished_publish_completes_when_repeated(project, azure):
    azure.recorder.inject(Fault.FORBIDDEN, at=38)
    outcome = project.publish()
    assert outcome.status == 2
    assert "the current login has no role that permits this request" in outcome.err
    half = set(states(outcome).values())
    assert half == {"published"}
    assert len(project.versions()) < 4
    assert "already exists" in states(project.publish()).values()
    assert len(project.versions()) == 4


def fail_each_request(project, azure, fault, publish, every=True):
    """Let each request of a command fail, and repeat the command: the same is there, once."""
    assert publish().status == 0
    expected = project.versions()
    for index in azure.recorder.indexes(every):
        azure.reset_content()
        azure.recorder.inject(fault, at=index)
        publish()
        assert azure.recorder.faults == {}, index
        assert publish().status == 0, index
        assert project.versions() == expected, index
        for asset in azure.workspace.versions("data"):
            assert azure.storage.names(asset["properties"]["dataUri"]), index


@pytest.mark.slow
def test_answer_to_what_writes_may_be_lost_and_each_asset_is_there_once(
    project, azure, quick_retries
):
    def publish():
        return project.main("publish", "join", "--data", "words=src", anew=False)

    fail_each_request(project, azure, Fault.LOST_ANSWER, publish, every=False)


@pytest.mark.slow
@pytest.mark.parametrize("fault", list(Fault))
def test_any_request_may_fail_in_any_way(project, azure, quick_retries, fault):
    fail_each_request(project, azure, fault, project.publish)


def test_killed_publish_completes_when_repeated(project, azure):
    process = project.start("publish", "make", "join")
    azure.recorder.wait_for(25)
    process.kill()
    process.wait()
    assert project.publish().status == 0
    assert len(project.versions()) == 4


def test_encoder_is_published_as_a_model_that_says_what_it_is(project, azure, imported_encoder):
    assert project.main("publish", "make", "--encoder", str(imported_encoder)).status == 0
    [model] = azure.workspace.versions("models")
    assert model["properties"]["modelType"] == "custom_model"
    names = azure.storage.names(model["properties"]["modelUri"])
    assert any(name.endswith("/encoder.toml") for name in names)
    assert model["properties"]["tags"].keys() >= {"tfhub_blocks.digest", "encoder_digest"}


def test_encoder_with_another_byte_is_not_published(project, tmp_path, imported_encoder):
    project.copy(imported_encoder, tmp_path / "planted")
    with (tmp_path / "planted" / "saved_model" / "saved_model.pb").open("ab") as file:
        file.write(b"x")
    outcome = project.main("publish", "make", "--encoder", str(tmp_path / "planted"))
    assert outcome.status == 2
    assert "saved_model.pb" in outcome.err
    assert project.versions() == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mkae"], "Did you mean 'make'?"),
        (["--data", "words"], "Write --data words=VALUE"),
        (["--data", "words=nowhere"], "path nowhere does not exist"),
        (["--encoder", "nowhere"], "encoder.toml"),
    ],
)
def test_wrong_request_is_told_before_anything_is_sent(project, azure, words, message):
    outcome = project.main("publish", *words)
    assert outcome.status == 2
    assert message in outcome.err
    assert azure.recorder.requests == []


def test_designer_is_told_of_every_step_and_port(own_components):
    for component in own_components:
        record = component._to_dict()
        assert record["display_name"] != record["name"]
        assert record["tags"]["category"], component.name
        for name, port in {**record["inputs"], **record.get("outputs", {})}.items():
            assert port.get("description"), f"{component.name}.{name}"


def test_files_of_the_steps_are_the_same_bytes_from_any_process(tmp_path):
    for folder in ("one", "two"):
        subprocess.run(
            [sys.executable, "-m", "tfhub_blocks.cli", "publish", "--files", tmp_path / folder],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    contents = [
        {p.relative_to(tmp_path / f): p.read_bytes() for p in files(tmp_path / f)}
        for f in ("one", "two")
    ]
    assert contents[0] == contents[1]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_files_of_the_steps_are_as_reviewed(own_components, golden, tmp_path):
    from tfhub_blocks.control.workspace.component_files import write_files

    for path in write_files(tmp_path, [step.name for step in own_components]):
        if path.parent != tmp_path:
            continue
        text = re.sub(r"-[0-9a-f]{12}\b", "-DIGEST", path.read_text())
        text = re.sub(r"(azureml:[\w-]+:)[0-9a-f]{12}", r"\1VERSION", text)
        golden(f"components/{path.stem}", re.sub(r"[0-9a-f]{64}", "DIGEST", text))


def test_az_takes_the_files_and_makes_what_publish_makes(project, azure, tmp_path):
    project.publish()
    before = project.versions()
    for key in ("components/make", "components/join", "environments/toy"):
        azure.workspace.forget(key)
    outcome = project.main("publish", "make", "join", "--files", str(tmp_path / "dist"))
    written = [Path(line).relative_to(tmp_path / "dist") for line in outcome.out.splitlines()]
    assert [str(path) for path in written] == ["environments/toy.yaml", "make.yaml", "join.yaml"]
    # What `az ml environment create --file` does.
    environment = load_environment(tmp_path / "dist" / written[0])
    azure.client().environments.create_or_update(environment)
    for name in ("make", "join"):
        # What `az ml component create --file` does.
        component = load_component(tmp_path / "dist" / f"{name}.yaml")
        azure.client().components.create_or_update(component)
    assert project.versions() == before
    assert set(states(project.publish()).values()) == {"already exists"}
    record = yaml.safe_load((tmp_path / "dist" / "make.yaml").read_text())
    assert record["inputs"]["count"] == {
        "type": "integer",
        "default": 1,
        "description": "How many",
        "min": 1,
        "max": 9,
    }


def test_own_step_and_its_environment_are_files_that_az_takes(ml_client, azure, tmp_path):
    from tfhub_blocks.control.workspace.component_files import write_files

    environment, step = write_files(tmp_path, ["reap_endpoints"])
    ml_client.environments.create_or_update(load_environment(environment))
    made = ml_client.components.create_or_update(load_component(step))
    assert made.environment.endswith(load_environment(environment).version)
    assert made.tags["docs"].endswith("docs/steps.md")
    assert made.tags["licence"] == "MIT"
    context = sorted(it.name for it in (tmp_path / "environments").rglob("*") if it.is_file())
    assert context == [
        "Dockerfile",
        "environment.yaml",
        "requirements.in",
        "requirements.lock",
        "tfhub-blocks-operations.yaml",
    ]


def test_names_of_published_steps_have_the_prefix_of_the_profile(project, azure):
    profile = project.read("pipelines/profiles/toy.toml")
    settings = 'prefix = "pets_"\ndocs = "https://example.org/pets"\nlicence = "Apache-2.0"\n'
    project.write("pipelines/profiles/toy.toml", f"{profile}[publish]\n{settings}")
    outcome = project.publish("--profile", "toy")
    assert outcome.status == 0, outcome.err
    for name in ("pets_make", "pets_join"):
        [found] = azure.workspace.versions("components", name)
        assert (
            found["properties"]["tags"].items()
            >= {
                "docs": "https://example.org/pets",
                "licence": "Apache-2.0",
            }.items()
        )
    assert set(states(project.publish("--profile", "toy")).values()) == {"already exists"}
    assert azure.workspace.versions("components", "make") == []
    cluster = AmlCompute(name="cpu-cluster", size="Standard_DS3_v2", max_instances=2)
    azure.client().compute.begin_create_or_update(cluster).result()
    assert project.submit().status == 0
    [job] = project.jobs()
    used = {node["componentId"] for node in job["properties"]["jobs"].values()}
    assert {it.split("/components/")[1].split("/")[0] for it in used} == {"pets_make", "pets_join"}


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('prefix = "Pets/"', "prefix is 'Pets/'"),
        ('docs = "http://x.org"', "docs is 'http://x.org'"),
    ],
)
def test_wrong_prefix_or_link_is_refused(project, line, problem):
    profile = project.read("pipelines/profiles/toy.toml")
    project.write("pipelines/profiles/toy.toml", f"{profile}[publish]\n{line}\n")
    outcome = project.publish("--profile", "toy")
    assert outcome.status == 2
    assert problem in outcome.err


def test_workspace_that_takes_locks_alone_gets_the_steps_of_the_commit(project, azure, monkeypatch):
    monkeypatch.setitem(azure.workspace.tags, "tfhub_blocks.takes", "locks")
    outcome = project.publish()
    assert outcome.status == 2
    assert "[publish > git] this folder is in no git repository" in outcome.err
    git(project, "init", "-q")
    git(project, "add", "components", "pipelines")
    git(project, "commit", "-q", "-m", "x")
    assert project.publish().status == 0
    before = project.versions()
    path = project.folder / "components/make/component.py"
    path.write_text(f"{path.read_text()}# edited\n")
    outcome = project.publish()
    assert set(states(outcome).values()) == {"already exists"}
    assert "without the changes in components/make/component.py" in outcome.err
    assert project.versions() == before
