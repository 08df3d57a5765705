"""The login of a process: that of its CI job by federated credentials, or the machine's."""

# decision 108

import os
from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import ClientAuthenticationError

# What an assertion for Microsoft Entra ID is addressed to.
AUDIENCE = "api://AzureADTokenExchange"
_TIMEOUT_S = 30
_TRIES = 4
_GITHUB = (
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
)
_AZURE_DEVOPS = (
    "SYSTEM_OIDCREQUESTURI",
    "SYSTEM_ACCESSTOKEN",
    "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
    "AZURESUBSCRIPTION_CLIENT_ID",
    "AZURESUBSCRIPTION_TENANT_ID",
)


def find_credential() -> Any:
    """Return the credential of this process.

    In a job of GitHub Actions or Azure Pipelines with a federated identity, the credential asks the
    job's service for a new assertion each time that it needs a token, so a job may last longer than
    an assertion. Elsewhere it is azure-identity's ``DefaultAzureCredential``.
    """
    from azure.identity import (
        AzurePipelinesCredential,
        ClientAssertionCredential,
        DefaultAzureCredential,
    )

    if found := _given(_GITHUB):
        return ClientAssertionCredential(
            found["AZURE_TENANT_ID"], found["AZURE_CLIENT_ID"], github_assertion
        )
    if found := _given(_AZURE_DEVOPS):
        return AzurePipelinesCredential(
            tenant_id=found["AZURESUBSCRIPTION_TENANT_ID"],
            client_id=found["AZURESUBSCRIPTION_CLIENT_ID"],
            service_connection_id=found["AZURESUBSCRIPTION_SERVICE_CONNECTION_ID"],
            system_access_token=found["SYSTEM_ACCESSTOKEN"],
        )
    return DefaultAzureCredential()


def github_assertion() -> str:
    """Return a new assertion about this job from GitHub's token service.

    Raises:
        ClientAuthenticationError: The service did not answer with one.
    """
    from requests import RequestException, Session
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    retry = Retry(_TRIES, backoff_factor=0.5, status_forcelist=(429, 500, 502, 503, 504))
    address = os.environ["ACTIONS_ID_TOKEN_REQUEST_URL"]
    headers = {"Authorization": f"bearer {os.environ['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}"}
    with Session() as session:
        for scheme in ("https://", "http://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        try:
            answer = session.get(
                address, params={"audience": AUDIENCE}, headers=headers, timeout=_TIMEOUT_S
            )
            answer.raise_for_status()
            return str(answer.json()["value"])
        except (RequestException, ValueError, KeyError, TypeError) as error:
            # Not the error's own text: it may contain the address with its query.
            status = getattr(getattr(error, "response", None), "status_code", "no answer")
            raise ClientAuthenticationError(
                f"AuthenticationFailed: GitHub gave no identity token ({status}). The job needs "
                "the permission id-token: write"
            ) from None


def _given(names: tuple[str, ...]) -> Mapping[str, str]:
    """Return the variables, or nothing if one of them is missing or empty."""
    found = {name: os.environ.get(name, "") for name in names}
    return found if all(found.values()) else {}
