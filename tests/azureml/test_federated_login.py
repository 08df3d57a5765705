"""A CI job signs in without a secret, and goes on when it lasts longer than its assertion."""

import time

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import AzurePipelinesCredential, ClientAssertionCredential
from entra import CLIENT, TENANT, Entra
from github_api import GitHubApi

from tfhub_blocks.control.project.federated_login import find_credential, github_assertion

SCOPE = "https://management.azure.com/.default"
LOOK_S, LOOKS = 30, 40


@pytest.fixture
def signed_in(project, azure, monkeypatch):
    """A job on GitHub whose subject Entra trusts; a managed identity is not there."""
    project.furnish(run=False)
    github = GitHubApi()
    entra = Entra(azure.identity, azure.certificates, github.subject)
    for name, value in (github.identity() | entra.environment()).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    yield github, entra
    for server in (github, entra):
        server.shutdown()
        server.server_close()


def test_job_of_twenty_minutes_outlives_assertions_of_five(project, signed_in, azure, monkeypatch):
    github, entra = signed_in
    outcome = project.submit()
    assert outcome.status == 0, outcome.err
    job = outcome.out.split()[0]
    first = github_assertion()
    # A clock that runs fast: each look at the job takes half a minute.
    now, late, get = time.time, [0], azure.workspace.get
    monkeypatch.setattr(time, "time", lambda: now() + late[0])
    monkeypatch.setenv("AZUREML_RUN_POLLING_INTERVAL_MIN", "0.02")
    asked, granted = len(github.issued), len(entra.granted)

    def seen(short_id):
        found = get(short_id)
        if short_id == f"jobs/{job}":
            late[0] += LOOK_S
            is_over = late[0] >= LOOK_S * LOOKS
            found["properties"]["status"] = "Completed" if is_over else "Running"
        return found

    monkeypatch.setattr(azure.workspace, "get", seen)
    outcome = project.main("status", job, "--wait", anew=False)
    assert outcome.status == 0, outcome.err
    assert late[0] >= 20 * 60
    # Each token was given for an assertion that was asked for then.
    assert entra.refused == []
    assert len(github.issued) - asked == len(entra.granted) - granted >= 2
    # A login that keeps its assertion, as azure-cli does, ends here.
    kept = ClientAssertionCredential(TENANT, CLIENT, lambda: first)
    with pytest.raises(ClientAuthenticationError, match="AADSTS700024"):
        kept.get_token(SCOPE)
    entra.refused.clear()
    # Nothing printed contains a token.
    assert not [it for it in (*github.issued, *azure.identity.given) if it in outcome.out]


def test_job_of_another_subject_is_refused_in_one_line(project, signed_in):
    github, _ = signed_in
    github.subject = "repo:team/models:pull_request"
    outcome = project.submit()
    assert outcome.status == 2
    assert "AADSTS70021" in outcome.err
    assert outcome.err.count("\n") == 1


def test_service_that_gives_no_assertion_is_a_sentence_without_the_token(signed_in, monkeypatch):
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "wrong-token")
    with pytest.raises(ClientAuthenticationError) as told:
        find_credential().get_token(SCOPE)
    assert "gave no identity token (401)" in str(told.value)
    assert "wrong-token" not in str(told.value)


def test_job_of_azure_pipelines_has_the_credential_of_its_connection(monkeypatch):
    for name in ("ACTIONS_ID_TOKEN_REQUEST_URL", "AZURE_CLIENT_ID"):
        monkeypatch.delenv(name, raising=False)
    values = {
        "SYSTEM_OIDCREQUESTURI": "https://dev.azure.com/team/_oidc",
        "SYSTEM_ACCESSTOKEN": "token",
        "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID": "connection",
        "AZURESUBSCRIPTION_CLIENT_ID": CLIENT,
        "AZURESUBSCRIPTION_TENANT_ID": TENANT,
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert isinstance(find_credential(), AzurePipelinesCredential)
    monkeypatch.delenv("SYSTEM_ACCESSTOKEN")
    assert not isinstance(find_credential(), AzurePipelinesCredential)
