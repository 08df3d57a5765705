"""What Azure refuses is one line, with the step that helps, and never with a secret in it."""

import json
import re

import pytest
from azure.core.exceptions import HttpResponseError
from loopback.identity import OBJECT
from loopback.requests import Fault

from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.records.base.errors import BlocksError

QUOTA = (
    "Operation could not be completed as it results in exceeding approved standardNCASv3Family "
    "Cores Quota. Current Limit: 0, Additional Required: 4."
)
REGION = "The requested VM size Standard_NC4as_T4_v3 is not supported in region westeurope."


def failing(project, *words):
    """The message of a command that must fail, in one line."""
    outcome = project.main(*words)
    assert outcome.status == 2, outcome.out
    assert outcome.err.count("\n") == 1
    assert "Traceback" not in outcome.err
    return project.normal(outcome.err)


def test_no_login_is_told_once_and_not_once_for_each_kind(project, azure, golden, monkeypatch):
    for name in azure.identity.environment():
        monkeypatch.delenv(name)
    monkeypatch.setenv("PATH", "")  # neither az nor anything else that could log in
    golden("error_no_login", failing(project, "publish", "join"))
    azure.guard.take_refused()  # where a virtual machine's identity would be


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("wrong_tenant", Fault.WRONG_TENANT),
        ("no_role", Fault.FORBIDDEN),
        ("expired_login", Fault.EXPIRED),
        ("conflict", Fault.CONFLICT),
    ],
)
def test_refusal_says_what_helps(project, azure, golden, name, fault):
    azure.recorder.inject(fault)
    golden(f"error_{name}", failing(project, "publish", "join"))


@pytest.mark.parametrize(
    ("action", "words", "role"),
    [
        ("components/versions/write", ("publish", "join"), "AzureML Data Scientist"),
        (
            "computes/write",
            ("compute", "apply", "--profile", "toy"),
            "AzureML Compute Operator",
        ),
    ],
)
def test_action_that_is_not_permitted_is_told_with_its_role(project, azure, action, words, role):
    action = f"Microsoft.MachineLearningServices/workspaces/{action}"
    azure.workspace.surroundings.permissions = [{"actions": ["*"], "notActions": [action]}]
    told = failing(project, *words)
    assert f"may not do {action}" in told
    assert f'--role "{role}" --assignee {project.normal(OBJECT)} --scope' in told
    assert told.endswith("/workspaces/loopback`.\n")


def test_storage_that_refuses_is_told_with_its_role():
    refused = HttpResponseError("not authorized. ErrorCode:AuthorizationPermissionMismatch")
    with pytest.raises(BlocksError, match='"Storage Blob Data Contributor"'), told("x", "y"):
        raise refused


def test_workspace_that_is_not_there_is_told(project, azure, golden):
    config = json.loads(project.read("config.json"))
    project.write("config.json", json.dumps(config | {"workspace_name": "lopback"}))
    golden("error_no_workspace", failing(project, "publish", "join"))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config_absent", None),
        ("config_no_json", "{"),
        ("config_incomplete", '{"subscription_id": "x", "resource_group": "y"}'),
        ("config_empty", '{"subscription_id": "x", "resource_group": "y", "workspace_name": ""}'),
    ],
)
def test_config_that_names_no_workspace_is_told(project, azure, golden, name, text):
    if text is None:
        (project.folder / "config.json").unlink()
    else:
        project.write("config.json", text)
    told = failing(project, "publish", "join")
    golden(f"error_{name}", re.sub(r"/\S+/(?=config\.json)", "", told))
    assert azure.recorder.requests == []


@pytest.mark.parametrize(("name", "reason"), [("quota", QUOTA), ("region", REGION)])
def test_machine_that_cannot_be_had_is_told(project, azure, golden, name, reason):
    azure.workspace.refused_sizes["standard_nc4as_t4_v3"] = reason
    told = failing(project, "compute", "apply", "--profile", "experiment")
    golden(f"error_{name}", told)


def test_azure_that_does_not_answer_is_told(project, azure, golden, quick_retries):
    for index in range(20):
        azure.recorder.inject(Fault.BROKEN, at=index)
    golden("error_broken", failing(project, "publish", "join"))


def test_no_secret_is_in_anything_that_is_produced(project, azure, quick_retries, capfd):
    said = []

    def main(*words):
        outcome = project.main(*words, anew=False)
        said.append(outcome.out + outcome.err)
        return outcome

    project.furnish()
    publish = ("publish", "make", "join", "--data", "words=src")
    for fault in (Fault.FORBIDDEN, Fault.EXPIRED, Fault.LOST_REQUEST):
        for index in range(0, 40, 4):
            azure.workspace.forget("components")
            azure.recorder.inject(fault, at=index)
            main(*publish)
    azure.recorder.faults.clear()
    main(*publish)
    job = main("submit", "toy", "--profile", "toy", "--set", f"source={project.words}", "--wait")
    name = job.out.partition("\n")[0]
    for words in (("status", name, "--json"), ("logs", name), ("download", name)):
        assert main(*words).status == 0
    main("download", "nothing-of-that-name")
    secrets = [azure.storage.key, azure.identity.secret, *azure.identity.given]
    texts = {"what was said": "\n".join(said)}
    texts |= {str(p): p.read_text(errors="replace") for p in files(project.folder)}
    texts |= azure.storage.texts()
    assert len(texts) > 20
    for where, text in texts.items():
        assert "sig=" not in text, where
        for secret in secrets:
            assert secret not in text, where


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]
