"""A request that Azure would refuse is refused, and the message says where it is wrong."""

import copy
import functools
from collections.abc import Callable
from typing import Any

import pytest
import requests
from loopback.contract import Contract
from loopback.identity import make_token
from loopback.resources import Refusal
from toy_project import PATIENCE_S


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract()


WORKSPACE = (
    "/subscriptions/72f988bf-0000-4000-8000-00000000000a/resourceGroups/tests/providers/"
    "Microsoft.MachineLearningServices/workspaces/loopback"
)


TENSORFLOW = {
    "distribution_type": "TensorFlow",
    "worker_count": 2,
    "parameter_server_count": 0,
}


def problems(contract: Contract, method: str, tail: str, version: str, body: Any) -> list[str]:
    operation = contract.operation(method, f"{WORKSPACE}/{tail}", version)
    assert operation is not None
    return contract.request_problems(operation, {"api-version": version}, body)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"isArchived": "yes"}, "body/properties/isArchived: 'yes' is not of type 'boolean'"),
        ({"jobType": "Pipelin"}, "body/properties/jobType: 'Pipelin' is not one of"),
        ({"stray": 1}, "body/properties: Additional properties are not allowed ('stray'"),
        ({"inputs": {"a": {"jobInputType": "literal"}}}, "inputs/a: 'value' is a required"),
        ({"inputs": {"a": {"jobInputType": "uri_folder", "uri": 3}}}, "inputs/a/uri: 3 is not of"),
        ({"identity": {"identityType": "Nobody"}}, "identity/identityType: 'Nobody' is not one of"),
        (
            {"jobs": {"a": {"resources": {"instance_count": "3"}}}},
            "jobs.a.resources: body/instanceCount: '3' is not of type 'integer'",
        ),
        (
            {"jobs": {"a": {"resources": {"nodes": 3}}}},
            "jobs.a.resources: body: Additional properties are not allowed ('nodes' was",
        ),
        (
            {"jobs": {"a": {"distribution": {"distribution_type": "Tensor"}}}},
            "jobs.a.distribution: body/distributionType: 'Tensor' is not one of",
        ),
        (
            {"jobs": {"a": {"distribution": {**TENSORFLOW, "worker_count": "3"}}}},
            "jobs.a.distribution: body/workerCount: '3' is not of type 'integer'",
        ),
    ],
)
def test_body_that_leaves_the_openapi_is_named_by_its_path(contract, change, expected):
    body = {"properties": {"jobType": "Pipeline", "inputs": None} | change}
    found = problems(contract, "PUT", "jobs/a", "2024-01-01-preview", body)
    assert len(found) == 1
    assert found[0].startswith("mfe.json 2024-01-01-preview PUT /workspaces/{workspaceName}/jobs")
    assert expected in found[0]


def test_missing_body_unknown_query_and_bad_name_are_found(contract):
    operation = contract.operation("PUT", f"{WORKSPACE}/jobs/_a", "2024-01-01-preview")
    found = contract.request_problems(operation, {"strange": "1"}, None)
    assert [part.partition(": ")[2].partition(":")[0] for part in found] == [
        "query strange",
        "path id",
        "body",
    ]


def test_named_deviations_are_allowed_and_nothing_near_them(contract):
    code = {"properties": {"codeUri": "https://x", "properties": {"hash_version": 202208}}}
    check = functools.partial(problems, contract, "PUT", "codes/a/versions/1", "2023-04-01")
    assert check(code) == []
    code["properties"]["properties"]["other"] = 3
    [found] = check(code)
    assert "properties/other: 3 is not of type 'string'" in found


def test_unknown_operation_is_none(contract):
    assert contract.operation("PATCH", f"{WORKSPACE}/codes/a", "2023-04-01") is None
    assert contract.operation("GET", f"{WORKSPACE}/codes/a", "1999-01-01") is None


def test_our_answers_are_checked(contract):
    operation = contract.operation("GET", f"{WORKSPACE}/jobs/a", "2024-01-01-preview")
    [found] = contract.answer_problems(operation, 200, {"properties": {"jobType": "Nothing"}})
    assert "'Nothing' is not one of" in found
    assert contract.answer_problems(operation, 207, {}) == [
        f"{operation}: status 207 is not described"
    ]


def test_refusal_over_the_wire_names_the_openapi_path(toys):
    job = toys.client.jobs.create_or_update(toys.job())
    body = {"properties": toys.plane.workspace.get(f"jobs/{job.name}")["properties"]}
    body["properties"]["inputs"]["count"]["value"] = 3
    answer = requests.put(
        f"https://management.azure.com{toys.plane.workspace.id}/jobs/other",
        params={"api-version": "2024-01-01-preview"},
        headers={"Authorization": f"Bearer {make_token('https://management.azure.com')}"},
        json=body,
        timeout=PATIENCE_S,
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == (
        "mfe.json 2024-01-01-preview PUT /workspaces/{workspaceName}/jobs/{id}: "
        "body/properties/inputs/count/value: 3 is not of type 'string'"
    )
    assert toys.plane.workspace.find("jobs/other") is None


@pytest.fixture
def submitted(furnished: Any) -> tuple[Any, dict[str, Any]]:
    """The workspace, and the body of a good job in it."""
    job = furnished.client.jobs.create_or_update(furnished.job())
    body = furnished.plane.workspace.get(f"jobs/{job.name}")["properties"]
    return furnished.plane.workspace, body


def node(name: str, side: str, port: str, **given: Any) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        body["jobs"][name].setdefault(side, {}).setdefault(port, {}).update(given)

    return change


def cycle(body: dict[str, Any]) -> None:
    given = {"uri": "${{parent.jobs.features.outputs.features}}", "job_input_type": "uri_folder"}
    body["jobs"]["snapshot"]["inputs"]["source"] = given


CHANGES = {
    "no node": (lambda b: b["jobs"].clear(), "jobs: there are no nodes"),
    "component": (
        lambda b: b["jobs"]["head"].update(componentId=b["jobs"]["head"]["componentId"] + "0"),
        "jobs.head.componentId: there is no",
    ),
    "kind": (lambda b: b["jobs"]["head"].update(type="sweep"), "jobs.head.type: it is 'sweep'"),
    "compute": (
        lambda b: b["settings"].update(default_compute=b["settings"]["default_compute"] + "0"),
        "settings.default_compute: there is no",
    ),
    "no compute": (
        lambda b: b["settings"].pop("default_compute"),
        "jobs.head.computeId: there is none, and no default",
    ),
    "unknown input": (node("head", "inputs", "speed", value="1"), "head.inputs.speed: the comp"),
    "missing input": (lambda b: b["jobs"]["head"]["inputs"].pop("features"), "features: it is mi"),
    "unknown parent": (
        node("registration", "inputs", "owner", value="${{parent.inputs.nobody}}"),
        "registration.inputs.owner: the pipeline has no input 'nobody'",
    ),
    "unknown node": (
        node("head", "inputs", "features", value="${{parent.jobs.nobody.outputs.features}}"),
        "head.inputs.features: no node 'nobody' makes 'features'",
    ),
    "not a binding": (
        node("head", "inputs", "features", value="${{jobs.features.outputs}}"),
        "is no binding",
    ),
    "type": (
        node("registration", "inputs", "evidence", value="${{parent.jobs.head.outputs.model}}"),
        "registration.inputs.evidence: a mlflow_model is bound to a uri_file",
    ),
    "range": (
        lambda b: b["inputs"]["max_rejected_fraction"].update(value="1.5"),
        "snapshot.inputs.max_rejected_fraction: 1.5 is above 1.0",
    ),
    "enum": (
        lambda b: b["inputs"]["near_duplicates"].update(value="perhaps"),
        "snapshot.inputs.near_duplicates: 'perhaps' is none of",
    ),
    "literal": (
        node("evaluation", "inputs", "resamples", value="many", job_input_type="literal"),
        "evaluation.inputs.resamples: 'many' is no integer",
    ),
    "boolean": (
        lambda b: b["inputs"]["balance_classes"].update(value="1"),
        "head.inputs.balance_classes: '1' is no boolean",
    ),
    "data": (
        lambda b: b["inputs"]["source"].update(uri=b["inputs"]["source"]["uri"] + "0"),
        "inputs.source.uri: there is no",
    ),
    "blobs": (
        lambda b: b["inputs"]["source"].update(
            uri="azureml://datastores/workspaceblobstore/paths/nowhere"
        ),
        "inputs.source: there is no blob",
    ),
    "output": (lambda b: b["outputs"].pop("model"), "the pipeline has no output 'model'"),
    "output type": (
        lambda b: b["outputs"]["model"].update(jobOutputType="uri_file"),
        "head.outputs.model: a mlflow_model is bound to a uri_file",
    ),
    "unmade output": (
        lambda b: b["outputs"].update(more={"jobOutputType": "uri_file"}),
        "outputs.more: no node makes it",
    ),
    "timeout": (
        lambda b: b["jobs"]["head"].update(limits={"timeout": "soon"}),
        "head.limits.timeout: 'soon' is no ISO 8601 duration",
    ),
    "no distribution": (
        lambda b: b["jobs"]["head"].update(resources={"instance_count": 2}),
        "jobs.head.distribution: there is none, and instance_count is 2",
    ),
    "other distribution": (
        lambda b: b["jobs"]["head"].update(distribution=TENSORFLOW),
        "jobs.head.distribution: it has 2 tasks, and instance_count is 1",
    ),
    "more than the cluster": (
        lambda b: b["jobs"]["head"].update(
            distribution={**TENSORFLOW, "worker_count": 3}, resources={"instance_count": 3}
        ),
        "jobs.head.resources.instance_count: 3 is above the 2 nodes",
    ),
    "no instance": (
        lambda b: b["jobs"]["head"].update(resources={"instance_count": 0}),
        "jobs.head.resources.instance_count: 0 is below 1",
    ),
    "circle": (cycle, "wait for each other"),
}


def test_each_mistake_in_a_pipeline_is_found_where_it_is(submitted):
    workspace, good = submitted
    good["outputs"].pop("default")
    workspace.check(workspace, "jobs/good", {"properties": good})
    missed = {}
    for name, (change, expected) in CHANGES.items():
        body = copy.deepcopy(good)
        change(body)
        try:
            workspace.check(workspace, "jobs/bad", {"properties": body})
            missed[name] = "nothing was found"
        except Refusal as refusal:
            if expected not in str(refusal):
                missed[name] = str(refusal)
    assert missed == {}


COMPONENT_CHANGES = {
    "code": (lambda s: s.update(code=s["code"] + "0"), "code: there is no"),
    "environment": (
        lambda s: s.update(environment="azureml:e:1"),
        "is no id of a workspace or registry",
    ),
    "placeholder": (lambda s: s.update(command="x ${{inputs.no}}"), "inputs.no is not declared"),
    "optional": (
        lambda s: s.update(command="x ${{inputs.min_accuracy}}"),
        "the optional min_accuracy stands outside of",
    ),
    "default": (lambda s: s["inputs"]["mistakes"].update(default="501"), "501 is above 500"),
    "port": (lambda s: s["inputs"].update(PATH={"type": "string"}), "cannot be the name of a port"),
    "type": (lambda s: s["outputs"]["report"].update(type="text"), "there is no type 'text'"),
    "version": (lambda s: s.update(version="9"), "componentSpec: it is evaluate:9"),
}


def test_each_mistake_in_a_component_is_found_where_it_is(furnished):
    from tfhub_blocks.components import evaluate

    made = furnished.client.components.create_or_update(evaluate)
    workspace = furnished.plane.workspace
    short_id = f"components/evaluate/versions/{made.version}"
    good = workspace.get(short_id)
    workspace.check(workspace, short_id, good)
    missed = {}
    for name, (change, expected) in COMPONENT_CHANGES.items():
        body = copy.deepcopy(good)
        change(body["properties"]["componentSpec"])
        try:
            workspace.check(workspace, short_id, body)
            missed[name] = "nothing was found"
        except Refusal as refusal:
            if expected not in str(refusal):
                missed[name] = str(refusal)
    assert missed == {}
