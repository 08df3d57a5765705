"""Online endpoints: which models, how, until when and for how much; through the unmodified SDK."""

import copy
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import mlflow
import pytest
from azure.ai.ml.entities import AmlCompute, ManagedOnlineEndpoint, Model
from loopback.requests import Fault
from loopback.resources import NO_QUOTA
from measured_models import (
    RUNTIME,
    SIZE,
    day,
    write_model,
)
from release_project import git

from tfhub_blocks.control.deployments.online_endpoints import TRUST_VARIABLE, serving_environment
from tfhub_blocks.control.project.output_store import content_digest
from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.records.formats.withdrawals import Withdrawal


def only(resources):
    [resource] = resources
    return resource


def normal(text):
    """Text without what differs from day to day and from workspace to workspace."""
    for days in range(-40, 41):
        text = text.replace(day(days), f"DAY{days:+d}")
    return text


def test_model_is_deployed_as_it_was_measured(served, azure, project):
    outcome = served()
    assert outcome.status == 0, outcome.err
    endpoint = only(azure.workspace.endpoints("onlineEndpoints"))
    assert endpoint["properties"]["authMode"] == "AADToken"
    assert (
        endpoint["tags"].items()
        >= {
            "tfhub_blocks.until": day(3),
            "tfhub_blocks.profile": "toy",
            "owner": "tester",
            "cost_centre": "toys",
        }.items()
    )
    deployment = only(azure.workspace.deployments("onlineEndpoints", endpoint["name"]))
    assert endpoint["properties"]["traffic"] == {deployment["name"]: 100}
    it = deployment["properties"]
    assert (it["instanceType"], deployment["sku"]["capacity"]) == (SIZE, 1)
    # Two computations of four items, or 250 items/s for 60 ms, whichever is more.
    assert it["requestSettings"] == {
        "maxConcurrentRequestsPerInstance": 15,
        "maxQueueWait": "PT0.06S",
        "requestTimeout": "PT1.12S",
    }
    assert it["environmentVariables"] == {"WORKER_COUNT": "1", "GUNICORN_CMD_ARGS": "--threads 15"}
    assert it["readinessProbe"]["initialDelay"] == "PT5S"
    assert it["livenessProbe"]["failureThreshold"] == 6
    assert deployment["tags"]["tfhub_blocks.runtime"] == RUNTIME.name
    model = azure.workspace.find_by_id(it["model"])
    assert model["properties"]["modelType"] == "mlflow_model"
    assert model["properties"]["tags"]["tfhub_blocks.latency_digest"] == "1" * 64
    environment = azure.workspace.find_by_id(it["environmentId"])
    assert "/tfhub-blocks-serving/" in environment["id"]
    routes = environment["properties"]["inferenceConfig"]
    assert routes["scoringRoute"] == {"path": "/score", "port": 5001}
    uri = azure.workspace.find_by_id(it["codeConfiguration"]["codeId"])["properties"]["codeUri"]
    files = azure.storage.names(uri)
    assert any(name.endswith(it["codeConfiguration"]["scoringScript"]) for name in files)
    assert not any("/control/" in name or "/commands/" in name for name in files)


@pytest.mark.parametrize(
    ("tensorflow", "extended", "chosen"),
    [
        (True, (), "tfhub-blocks-serving"),
        (False, (), "tfhub-blocks-serving-openvino"),
        # Somebody extended the environment with TensorFlow, so that is the one to use.
        (False, ("tfhub-blocks-serving",), "tfhub-blocks-serving"),
    ],
)
def test_model_without_tensorflow_gets_an_environment_without_it(tensorflow, extended, chosen):
    profile = Profile("toy", "azureml", {}, environments={name: name for name in extended})
    runtime = replace(RUNTIME, tensorflow=tensorflow)
    assert serving_environment(profile, runtime).name == chosen


def test_model_of_others_is_deployed_if_its_code_is_trusted(served, azure):
    assert served("foreign", "--trust-code").status == 0
    endpoint = only(azure.workspace.endpoints("onlineEndpoints"))
    it = only(azure.workspace.deployments("onlineEndpoints", endpoint["name"]))
    assert it["properties"]["environmentVariables"][TRUST_VARIABLE] == "true"
    assert it["tags"]["tfhub_blocks.trusted_code"] == "true"


def test_what_is_told(served, golden, azure):
    first = normal(served().out)
    azure.recorder.clear()
    again = normal(served().out)
    assert {r.method for r in azure.recorder.requests} == {"GET"}
    [name] = {it["name"] for it in azure.workspace.endpoints("onlineEndpoints")}
    text = f"{first}\n{again}".replace(name.rpartition("-")[2], "PLACE_")
    golden("deploy_online", mask_hours(text))


def mask_hours(text):
    text = re.sub(r"at most [\d.]+ USD: \d+ hours", "at most COST USD: HOURS hours", text)
    return re.sub(r"(tfhub-blocks-serving|animals):[0-9a-f]{12}", r"\1:VERSION", text)


REFUSED = (
    ("nightly",),
    ("open",),
    ("bare",),
    ("claimed",),
    ("placeless",),
    ("edited",),
    ("unstated",),
    ("unstated", "--trust-code"),
    ("foreign",),
    ("anmals",),
    ("azureml:animals",),
    ("animals", "--instance-type", "Standard_NC4as_T4_v3"),
    ("animals", "--instances", "4"),
    ("animals", "--instances", "0"),
    ("animals", "--traffic", "101"),
    ("animals", "--name", "a_b"),
    ("animals", "--until", "tomorrow"),
    ("animals", "--until", "2026-01-01"),
    ("animals", "--until", "2999-01-01"),
    ("animals", "--until", ""),
    ("animals", "--profile", "local"),
)


def test_refused_before_anything_is_made(served, azure, golden, registry):
    told = []
    for case in REFUSED:
        outcome = served(*case)
        assert outcome.status == 2, case
        assert outcome.err.count("\n") == 1, case
        told.append(f"deploy online {' '.join(case)}\n  {outcome.err}")
    assert {r.method for r in azure.recorder.requests} <= {"GET"}
    text = normal("".join(told)).replace(str(registry), "RUNS")
    text = re.sub(r"\b[0-9a-f]{64}\b", "DIGEST", text)
    text = re.sub(r"is \d+ days away", "is N days away", text)
    golden(
        "deploy_online_refused",
        re.sub(
            r"costs [\d.]+ USD until it is deleted after (\S+) \(\d+ hours",
            r"costs N USD until it is deleted after \1 (N hours",
            text,
        ),
    )


def test_endpoints_of_a_profile_share_its_budget(served, azure):
    assert served("animals", "--instances", "2").status == 0
    outcome = served("animals", "--instances", "2", "--name", "another")
    assert outcome.status == 2
    assert "and the other endpoints" in outcome.err
    assert len(azure.workspace.endpoints("onlineEndpoints")) == 1


def test_profile_without_a_budget_for_endpoints_deploys_none(served, azure, project):
    profile = project.read("pipelines/profiles/toy.toml")
    project.write("pipelines/profiles/toy.toml", profile.replace("endpoints = 60.0\n", ""))
    outcome = served()
    assert outcome.status == 2
    assert "toy > budget.endpoints] profile toy sets no budget.endpoints" in outcome.err
    assert azure.workspace.endpoints("onlineEndpoints") == []


def test_profile_that_takes_locks_takes_promoted_models_alone(served, azure, project):
    profile = project.read("pipelines/profiles/toy.toml").replace("experiment", "production")
    profile = profile.replace('"record"', '"refuse"')
    project.write("pipelines/profiles/toy.toml", f'takes = "locks"\n{profile.lstrip()}')
    outcome = served()
    assert outcome.status == 2
    assert "[deploy online > git] this folder is in no git repository" in outcome.err
    git(project, "init", "-q")
    commit_pipelines(project)
    outcome = served()
    assert outcome.status == 2
    assert "tfhub-blocks promote animals:1 --profile toy" in outcome.err
    # As promote leaves it there.
    project.write("pipelines/profiles/toy.toml", profile)
    commit_pipelines(project)
    assert served().status == 0
    model = only(azure.workspace.versions("models"))
    model["properties"]["tags"]["tfhub_blocks.promoted.toy"] = "2" * 64
    project.write("pipelines/profiles/toy.toml", f'takes = "locks"\n{profile.lstrip()}')
    commit_pipelines(project)
    project.write("pipelines/profiles/toy.toml", "")  # the profile of the commit is used
    assert served().status == 0


def commit_pipelines(project):
    git(project, "add", "pipelines")
    git(project, "commit", "-q", "-m", "pipelines")


def test_model_of_the_workspace_is_read_before_it_is_deployed(served, azure, registry):
    digest = content_digest(registry / "animals")
    tags = {"model_digest": digest, "latency_digest": "1" * 64, "compute_size": SIZE}
    for version, folder in (("1", "animals"), ("2", "edited")):
        azure.client().models.create_or_update(
            Model(
                name="theirs",
                version=version,
                path=registry / folder,
                type="mlflow_model",
                tags={f"tfhub_blocks.{key}": value for key, value in tags.items()},
            )
        )
    outcome = served("azureml:theirs:1")
    assert outcome.status == 0, outcome.err
    [name] = {it["name"] for it in azure.workspace.endpoints("onlineEndpoints")}
    it = only(azure.workspace.deployments("onlineEndpoints", name))["properties"]
    assert it["model"].endswith("/models/theirs/versions/1")
    assert "but its registration states" in served("azureml:theirs:2").err
    assert "has no model theirs:3" in served("azureml:theirs:3").err


def test_withdrawn_model_is_not_deployed_from_any_registry(served, azure, project, registry):
    digest = content_digest(registry / "animals")
    tags = {"model_digest": digest, "latency_digest": "1" * 64, "compute_size": SIZE}
    named = {f"tfhub_blocks.{key}": value for key, value in tags.items()}
    theirs = Model(name="theirs", version="1", path=registry / "animals", type="mlflow_model")
    theirs.tags = named
    azure.client().models.create_or_update(theirs)
    folder = project.folder / "pipelines" / "withdrawals"
    written = Withdrawal("licence", "apache-2.0", (), (), "No", ("ada",), "2026-01-02T03:04:05Z")
    project.write(f"{folder.relative_to(project.folder)}/{written.file_name}", written.as_text())
    for model in ("animals", "azureml:theirs:1"):
        outcome = served(model)
        assert outcome.status == 2
        assert "depends on licence apache-2.0, withdrawn on 2026-01-02 by ada: No" in outcome.err
    shutil.rmtree(folder)
    # A machine without the statement sees the tag, which another machine sets.
    words = ("withdraw", digest, "--reason", "No", "--workspace", "--runs-dir", "elsewhere")
    outcome = project.main(*words, anew=False)
    assert outcome.status == 0, outcome.err
    assert "models tagged in workspace loopback: theirs:1" in outcome.out
    folder.rename(project.folder / "kept")
    outcome = served("azureml:theirs:1")
    assert outcome.status == 2
    assert "which this project does not contain" in outcome.err
    assert azure.workspace.endpoints("onlineEndpoints") == []
    (project.folder / "kept").rename(folder)
    outcome = project.main(*words, "--restore", anew=False)
    assert "tags removed from models of workspace loopback: theirs:1" in outcome.out
    shutil.rmtree(folder)
    assert served("azureml:theirs:1").status == 0


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({"made": "by hand"}, "exists without the tag tfhub_blocks.until"),
        ({"owner": "tester"}, "exists without the tag tfhub_blocks.until"),
        ({"owner": "them", "tfhub_blocks.until": "2999-01-01"}, "theirs belongs to owner them"),
    ],
)
def test_endpoint_of_others_is_left_alone(served, azure, tags, problem):
    endpoint = ManagedOnlineEndpoint(name="theirs", tags=tags)
    azure.client().online_endpoints.begin_create_or_update(endpoint).result()
    outcome = served("animals", "--name", "theirs")
    assert outcome.status == 2
    assert problem in outcome.err
    assert only(azure.workspace.endpoints("onlineEndpoints"))["tags"] == tags


def test_another_end_and_another_model_change_what_is_there(served, azure, registry, tmp_path):
    served("animals", "--name", "shared")
    outcome = served("animals", "--name", "shared", days=5)
    assert "endpoint shared: changed" in outcome.out
    assert "up to date" in outcome.out
    endpoint = only(azure.workspace.endpoints("onlineEndpoints"))
    assert endpoint["tags"]["tfhub_blocks.until"] == day(5)
    first = only(azure.workspace.deployments("onlineEndpoints", "shared"))["name"]
    runs = tmp_path / "runs"
    shutil.copytree(registry, runs)
    client = mlflow.MlflowClient(*[f"sqlite:///{runs}/mlflow.db"] * 2)
    digest = write_model(runs / "better", "realtime", RUNTIME)
    tags = {"model_digest": digest, "latency_digest": "1" * 64}
    named = {f"tfhub_blocks.{key}": value for key, value in tags.items()}
    client.create_model_version("animals", str(runs / "better"), tags=named)
    more = ("--name", "shared", "--runs-dir", str(runs))
    assert "traffic: " + f"{first} 100 %" in served("animals:2", *more).out
    assert served("animals:2", *more, "--traffic", "30").status == 0
    traffic = only(azure.workspace.endpoints("onlineEndpoints"))["properties"]["traffic"]
    assert traffic == {first: 70, f"m{digest[:11]}": 30}
    # Both are paid for.
    assert "at 0.5000" in served("animals:2", *more).out


def test_size_without_quota_leaves_nothing_that_is_paid_for(served, azure):
    azure.workspace.refused_sizes[SIZE.lower()] = NO_QUOTA
    outcome = served()
    assert outcome.status == 2
    assert "quota" in outcome.err
    endpoint = only(azure.workspace.endpoints("onlineEndpoints"))
    assert endpoint["tags"]["tfhub_blocks.until"] == day(3)
    assert azure.workspace.deployments("onlineEndpoints", endpoint["name"]) == []
    azure.workspace.refused_sizes.clear()
    assert served().status == 0


def test_deployment_that_fails_is_deleted_and_its_endpoint_keeps_its_end(served, azure, registry):
    name = f"m{content_digest(registry / 'animals')[:11]}"
    azure.workspace.failing.add(name)
    outcome = served()
    assert outcome.status == 2
    assert f"  deployment {name}: failed, and deleted\n" in outcome.out
    assert "User container has crashed or terminated" in outcome.err
    endpoint = only(azure.workspace.endpoints("onlineEndpoints"))
    assert endpoint["tags"]["tfhub_blocks.until"] == day(3)
    assert azure.workspace.deployments("onlineEndpoints", endpoint["name"]) == []
    azure.workspace.failing.clear()
    assert served().status == 0


def test_schedule_that_ends_endpoints_is_offered_and_installed(served, azure, project):
    profile = project.read("pipelines/profiles/toy.toml")
    reaps = '[deployments]\nreap = "17 2 * * *"\n'
    role = '[roles.operations]\ncompute = "cpu-cluster"\ntimeout_s = 900\n[budget]'
    text = profile.replace("[deployments]\n", reaps).replace("[budget]", role)
    # The cluster is priced where the workspace is.
    text = text.replace("max_nodes = 2", 'max_nodes = 2\nlocation = "westeurope"')
    project.write("pipelines/profiles/toy.toml", text)
    project.main("publish", "reap_endpoints")
    cluster = AmlCompute(name="cpu-cluster", size=SIZE, max_instances=2)
    azure.client().compute.begin_create_or_update(cluster).result()
    outcome = served("animals", "--install-reap")
    assert outcome.status == 0, outcome.err
    assert "  schedule tfhub-blocks-reap: created\n" in outcome.out
    assert "deploy reap --install" not in outcome.out
    # "At most" counts until the schedule has fired after the end, and its step had its limit.
    assert "a night on which Azure ML starts no job that reaps" in outcome.out
    hours = float(re.search(r"([\d.,]+) hours at", outcome.out)[1])
    midnight = datetime.combine(datetime.now(UTC).date() + timedelta(4), time(), UTC)
    left = (midnight - datetime.now(UTC)).total_seconds() / 3600
    assert hours == pytest.approx(left + 2 + 17 / 60 + 0.5, abs=1)


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=[] if fault is Fault.LOST_ANSWER else pytest.mark.slow)
        for fault in Fault
    ],
)
def test_any_write_may_fail_and_there_is_one_of_each(served, azure, quick_retries, fault):
    served()
    before = {
        key: copy.deepcopy(value)
        for key, value in azure.workspace.resources.items()
        if not key.startswith(("onlineendpoints", "codes"))
    }
    azure.workspace.resources = copy.deepcopy(before)
    azure.recorder.clear()
    served()
    requests = [r for r in azure.recorder.requests if not r.is_storage]
    writes = [r.index for r in requests if r.method in ("PUT", "POST")]
    assert len(writes) == 5  # the endpoint, its code twice, the deployment, the traffic
    for index in writes:
        azure.workspace.resources = copy.deepcopy(before)
        azure.recorder.clear()
        azure.recorder.inject(fault, at=index)
        if served().status != 0:
            assert served().status == 0, index
        assert azure.recorder.faults == {}
        endpoint = only(azure.workspace.endpoints("onlineEndpoints"))
        deployment = only(azure.workspace.deployments("onlineEndpoints", endpoint["name"]))
        assert endpoint["properties"]["traffic"] == {deployment["name"]: 100}, index
