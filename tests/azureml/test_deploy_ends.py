"""Batch endpoints, what lists of endpoints tell, and the end of those that are past their date."""

import copy
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from azure.ai.ml.entities import AmlCompute, BatchEndpoint, Model
from loopback.requests import Fault

from tfhub_blocks.records.formats.withdrawals import VARIABLE

PRICES = f"""format_version = 1
currency = "USD"
region = "westeurope"
[regions.westeurope]
date = "{datetime.now(UTC).date()}"
source = "a test"
[regions.westeurope.sizes]
Standard_DS3_v2 = {{ dedicated = 0.25 }}
"""
UNTIL = "tfhub_blocks.until"


def day(days):
    return (datetime.now(UTC).date() + timedelta(days)).isoformat()


@pytest.fixture
def toy(project):
    project.furnish(run=False)
    project.write("pipelines/prices.toml", PRICES)
    return project


def deploy(toy, *words, days=3):
    return toy.main(
        "deploy", "batch", "toy", "--profile", "toy", "--until", day(days), "--name", "toys", *words
    )


def put_online(azure, name, until, days_old=2, instances=2, size="Standard_DS3_v2"):
    """An online endpoint with a deployment, as the workspace keeps it, made some days ago."""
    tags = {UNTIL: until, "owner": "ada", "cost_centre": "toys"} if until else {"owner": "them"}
    workspace, known = azure.workspace, {"location": "westeurope", "tags": tags}
    endpoint = {"authMode": "AADToken", "traffic": {"m1": 100}, "provisioningState": "Succeeded"}
    workspace.store(f"onlineEndpoints/{name}", {**known, "properties": endpoint})
    deployment = {
        "endpointComputeType": "Managed",
        "instanceType": size,
        "model": f"{workspace.id}/models/animals/versions/7",
        "provisioningState": "Succeeded",
        "properties": {},
    }
    kept = {**known, "tags": {}, "sku": {"name": "Default", "capacity": instances}}
    workspace.store(f"onlineEndpoints/{name}/deployments/m1", {**kept, "properties": deployment})
    made = (datetime.now(UTC) - timedelta(days_old)).isoformat()
    for key in (f"onlineEndpoints/{name}", f"onlineEndpoints/{name}/deployments/m1"):
        workspace.get(key)["systemData"]["createdAt"] = made


def names(azure):
    kinds = ("onlineEndpoints", "batchEndpoints")
    return sorted(it["name"] for kind in kinds for it in azure.workspace.endpoints(kind))


def normal(text):
    for days in range(-5, 6):
        text = text.replace(day(days), f"DAY{days:+d}")
    text = re.sub(r"[\d.]+ USD so far", "SPENT USD so far", text)
    text = re.sub(r"[\d.]+ more until", "SOME more until", text)
    return re.sub(r"\bp[0-9a-f]{11}\b", "pDIGEST____", text)


def test_pipeline_takes_what_is_left_open_and_has_the_rest_fixed(toy, azure):
    outcome = deploy(toy, "--set", f"source={toy.words}", "--set", "count=2")
    assert outcome.status == 0, outcome.err
    assert "  inputs    text, rate, flag, maybe\n" in outcome.out
    [component] = azure.workspace.versions("components", "toy_batch")
    spec = component["properties"]["componentSpec"]
    assert set(spec["inputs"]) == {"text", "rate", "flag", "maybe"}
    source = spec["jobs"]["left"]["inputs"]["source"]
    assert source["uri"].endswith(f"/data/words/versions/{toy.words.rpartition(':')[2]}")
    assert spec["jobs"]["right"]["inputs"]["count"]["value"] == "2"
    assert spec["jobs"]["left"]["limits"]["timeout"] == "PT1M"
    [deployment] = azure.workspace.deployments("batchEndpoints", "toys")
    it = deployment["properties"]["deploymentConfiguration"]
    assert it["componentId"]["assetId"] == component["id"]
    assert it["settings"]["default_compute"] == "cpu-cluster"
    endpoint = azure.workspace.get("batchEndpoints/toys")
    assert endpoint["tags"][UNTIL] == day(3)
    assert endpoint["properties"]["defaults"]["deploymentName"] == deployment["name"]
    azure.recorder.clear()
    again = deploy(toy, "--set", f"source={toy.words}", "--set", "count=2")
    assert again.out.count("up to date") == 2
    assert {r.method for r in azure.recorder.requests} == {"GET"}


def test_batch_inference_is_deployed_with_its_model_and_ends_at_its_date(toy, azure):
    role = '[roles.gpu]\ncompute = "cpu-cluster"\ntimeout_s = 60\n[clusters'
    profile = toy.read("pipelines/profiles/toy.toml").replace("[clusters", role)
    toy.write("pipelines/profiles/toy.toml", profile)
    toy.main("publish", "score_batch")
    model = Model(name="flowers", version="7", path=toy.folder / "src", type="mlflow_model")
    azure.client().models.create_or_update(model)
    fixed = ("--set", "model=azureml:flowers:7", "--set", "engine=openvino")
    words = ("--profile", "toy", "--until", day(3), "--name", "scoring", *fixed)
    outcome = toy.main("deploy", "batch", "batch_inference", *words)
    assert outcome.status == 0, outcome.err
    assert "  inputs    data, encoder, previous_predictions, model_name, top_k, keep" in outcome.out
    [component] = azure.workspace.versions("components", "batch_inference_batch")
    spec = component["properties"]["componentSpec"]
    [node] = spec["jobs"].values()
    assert node["inputs"]["data"]["value"] == "${{parent.inputs.data}}"
    assert node["inputs"]["model"]["uri"].endswith("/models/flowers/versions/7")
    assert node["inputs"]["engine"]["value"] == "openvino"
    assert "/components/score_batch/versions/" in node["componentId"]
    assert node["computeId"].endswith("/computes/cpu-cluster")
    assert not spec["inputs"]["data"].get("optional")
    assert spec["outputs"] == {"predictions": {"type": "uri_folder"}}
    told = toy.main("deploy", "list").out
    assert "scoring  batch, tester (toys), 0 hours old" in told
    assert "batch_inference, billed per job" in told
    azure.workspace.get("batchEndpoints/scoring")["tags"][UNTIL] = day(-1)
    assert toy.main("deploy", "reap").status == 0
    assert names(azure) == []


def test_withdrawn_data_is_deployed_in_no_pipeline_and_steps_get_the_withdrawals(toy, azure):
    reason = ("--reason", "Its owner asked")
    source = ("--set", f"source={toy.words}")
    assert toy.main("withdraw", toy.words, *reason, anew=False).status == 0
    for words in (("deploy", "batch"), ("submit",)):
        more = ("--until", day(3), "--name", "toys") if words[0] == "deploy" else ()
        outcome = toy.main(*words, "toy", "--profile", "toy", *source, *more)
        assert outcome.status == 2
        assert f"depends on data {toy.words.partition(':')[2]}, withdrawn on" in outcome.err
    assert names(azure) == []
    put_online(azure, "alive", day(2))
    listed = toy.main("lineage", "--forward", "azureml:animals:7", "--workspace", anew=False)
    assert "workspace loopback: online endpoint alive, deployment m1\n" in listed.out
    listed = toy.main("lineage", "--forward", "azureml:others:1", "--workspace", anew=False)
    assert listed.status == 0, listed.err
    assert "endpoints in workspace loopback: none" in listed.out
    assert toy.main("withdraw", toy.words, *reason, "--restore", anew=False).status == 0
    assert toy.main("withdraw", "7" * 64, *reason, anew=False).status == 0
    outcome = deploy(toy, *source)
    assert outcome.status == 0, outcome.err
    [component] = azure.workspace.versions("components", "toy_batch")
    for node in component["properties"]["componentSpec"]["jobs"].values():
        assert node["environment_variables"][VARIABLE].startswith(f"digest:{'7' * 16}:")


def test_cluster_that_stays_up_takes_no_batch_endpoint(toy, azure):
    cluster = AmlCompute(
        name="cpu-cluster", size="Standard_DS3_v2", min_instances=1, max_instances=2
    )
    azure.client().compute.begin_create_or_update(cluster).result()
    outcome = deploy(toy)
    assert outcome.status == 2
    assert "keeps 1 nodes running, which cost money" in outcome.err
    assert names(azure) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "cuont=2"), "Did you mean 'count'?"),
        (("--until", day(400)), "profile toy allows 30"),
        (("--profile", "local"), "has engine local"),
    ],
)
def test_wrong_batch_is_told_before_anything_is_made(toy, azure, words, message):
    outcome = deploy(toy, *words)
    assert outcome.status == 2
    assert message in outcome.err
    assert {r.method for r in azure.recorder.requests} <= {"GET"}


def test_run_beyond_its_budget_is_not_deployed(toy, azure):
    profile = toy.read("pipelines/profiles/toy.toml")
    toy.write("pipelines/profiles/toy.toml", f'{profile}[budget]\ncurrency = "USD"\nrun = 0.001\n')
    outcome = deploy(toy)
    assert outcome.status == 2
    assert "toy > budget.run] a run may cost" in outcome.err
    assert names(azure) == []


def test_list_tells_age_time_left_cost_and_traffic(toy, azure, golden):
    put_online(azure, "alive", day(2))
    put_online(azure, "old", day(-1), days_old=3)
    put_online(azure, "forever", None)
    put_online(azure, "strange", "soon", size="Standard_X9")
    deploy(toy)
    found = {it["name"]: it for it in json.loads(toy.main("deploy", "list", "--json").out)}
    assert found["alive"]["cost_so_far"] == pytest.approx(2 * 24 * 2 * 0.25, rel=0.01)
    assert found["alive"]["cost_to_come"] == pytest.approx(found["alive"]["hours_left"] * 0.5)
    assert found["old"]["is_past"]
    assert (found["forever"]["until"], found["forever"]["is_ours"]) == (None, False)
    assert found["strange"]["cost_so_far"] is None
    shown = re.sub(r"\d+ (hours|days) left", "SOME TIME left", toy.main("deploy", "list").out)
    golden("deploy_list", normal(shown))


def test_nothing_is_there(toy):
    assert toy.main("deploy", "list").out == "no endpoints\n"
    assert toy.main("deploy", "reap").out == "no endpoint is past its end date\n"


def test_reap_deletes_what_is_past_its_end_and_nothing_else(toy, azure, golden):
    put_online(azure, "alive", day(0))
    put_online(azure, "old", day(-1))
    put_online(azure, "forever", None)
    deploy(toy)
    azure.workspace.get("batchEndpoints/toys")["tags"][UNTIL] = day(-2)
    dry = toy.main("deploy", "reap", "--dry-run")
    assert names(azure) == ["alive", "forever", "old", "toys"]
    first, again = toy.main("deploy", "reap"), toy.main("deploy", "reap")
    assert (dry.status, first.status, again.status) == (0, 0, 0)
    assert names(azure) == ["alive", "forever"]
    assert azure.workspace.deployments("onlineEndpoints", "old") == []
    golden("deploy_reap", normal(f"{dry.out}\n{first.out}\n{again.out}"))


def test_reap_of_one_that_is_refused_goes_on_with_the_others(toy, azure, quick_retries):
    for name in ("first", "second"):
        put_online(azure, name, day(-1))
    put_online(azure, "strange", "soon")
    toy.main("deploy", "reap", "--dry-run")
    listing = len(azure.recorder.requests)
    azure.recorder.clear()
    # After the lists come the first one's own request and its deployments, and then its end.
    toy.main("deploy", "list")
    listing = len(azure.recorder.requests)
    azure.recorder.clear()
    azure.recorder.inject(Fault.FORBIDDEN, at=listing + 2)
    outcome = toy.main("deploy", "reap")
    assert azure.recorder.faults == {}
    assert outcome.status == 1
    assert "[deploy reap > online endpoint first] the current login has no role" in outcome.err
    assert "tag tfhub_blocks.until is 'soon', which is not a date" in outcome.err
    assert names(azure) == ["first", "strange"]
    assert toy.main("deploy", "reap").status == 1
    assert names(azure) == ["strange"]


@pytest.mark.parametrize("fault", [Fault.CHANGED, Fault.THROTTLED])
def test_reap_and_deploy_survive_another_change_at_the_same_time(
    toy, azure, quick_retries, monkeypatch, fault
):
    monkeypatch.setenv("AZUREML_RUN_POLLING_INTERVAL_MIN", "0.05")
    for command in (lambda: deploy(toy), lambda: toy.main("deploy", "reap")):
        if names(azure):
            azure.workspace.get("batchEndpoints/toys")["tags"][UNTIL] = day(-1)
        resources = copy.deepcopy(azure.workspace.resources)
        azure.recorder.clear()
        assert command().status == 0
        writes = [r.index for r in azure.recorder.requests if r.method in ("PUT", "DELETE")]
        # A component is written once under its version, so nobody else can have changed it.
        kept = [index for index in writes if "component" not in requested(azure, index)]
        for index in kept:
            azure.workspace.resources = copy.deepcopy(resources)
            azure.recorder.clear()
            azure.recorder.inject(fault, at=index)
            outcome = command()
            assert (outcome.status, azure.recorder.faults) == (0, {}), outcome.err
    assert names(azure) == []


def requested(azure, index):
    """What a request was about."""
    return next(r.path for r in azure.recorder.requests if r.index == index)


def test_endpoint_that_got_more_time_meanwhile_is_kept(toy, azure, monkeypatch):
    from tfhub_blocks.control.deployments import endpoints

    put_online(azure, "old", day(-1))
    read = endpoints.read_endpoints

    def read_and_extend(*arguments):
        found = list(read(*arguments))
        azure.workspace.get("onlineEndpoints/old")["tags"][UNTIL] = day(1)
        return found

    monkeypatch.setattr(endpoints, "read_endpoints", read_and_extend)
    assert "has a later end date" in toy.main("deploy", "reap").out
    assert names(azure) == ["old"]


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        ({"made": "by hand"}, "exists without the tag tfhub_blocks.until"),
        ({"owner": "tester"}, "exists without the tag tfhub_blocks.until"),
        ({"owner": "them", UNTIL: "2999-01-01"}, "toys belongs to owner them"),
    ],
)
def test_batch_endpoint_of_others_is_left_alone(toy, azure, tags, problem):
    endpoint = BatchEndpoint(name="toys", tags=tags)
    azure.client().batch_endpoints.begin_create_or_update(endpoint).result()
    assert problem in deploy(toy).err
    assert azure.workspace.get("batchEndpoints/toys")["tags"] == tags


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, marks=[] if fault is Fault.LOST_ANSWER else pytest.mark.slow)
        for fault in Fault
    ],
)
def test_any_write_may_fail_and_there_is_one_of_each(toy, azure, quick_retries, fault):
    before = copy.deepcopy(azure.workspace.resources)
    azure.recorder.clear()
    deploy(toy)
    writes = [r.index for r in azure.recorder.requests if r.method in ("PUT", "POST")]
    assert len(writes) == 4  # the component, the endpoint, the deployment, the default
    for index in writes:
        azure.workspace.resources = copy.deepcopy(before)
        azure.recorder.clear()
        azure.recorder.inject(fault, at=index)
        if deploy(toy).status != 0:
            assert deploy(toy).status == 0, index
        assert azure.recorder.faults == {}
        assert len(azure.workspace.versions("components", "toy_batch")) == 1
        [deployment] = azure.workspace.deployments("batchEndpoints", "toys")
        endpoint = azure.workspace.get("batchEndpoints/toys")["properties"]
        assert endpoint["defaults"]["deploymentName"] == deployment["name"], index
