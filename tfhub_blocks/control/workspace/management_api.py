"""Reads of Azure Resource Manager that azure-ai-ml does not offer, with the same login."""

# decision 86

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from azure.core import PipelineClient
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
)
from azure.core.pipeline.policies import RequestIdPolicy, RetryPolicy, UserAgentPolicy
from azure.core.rest import HttpRequest
from azure.mgmt.core.exceptions import ARMErrorFormat
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

from tfhub_blocks.control.workspace.connection import Connection

URL = "https://management.azure.com"
SCOPE = f"{URL}/.default"
_MOST_PAGES = 200


@dataclass(frozen=True)
class ManagementApi:
    """GET requests to Resource Manager, with azure-core's retries and throttling."""

    credential: Any

    @classmethod
    def of(cls, connection: Connection) -> "ManagementApi":
        """Return the interface with the login of a connection."""
        return cls(connection.credential)

    @cached_property
    def _client(self) -> Any:
        login = ARMChallengeAuthenticationPolicy(self.credential, SCOPE)
        policies = [RequestIdPolicy(), UserAgentPolicy("tfhub-blocks"), RetryPolicy(), login]
        return PipelineClient(base_url=URL, policies=policies)

    def get(self, path: str, version: str, **query: str) -> Mapping[str, Any]:
        """Return a resource by its id.

        Raises:
            AzureError: Azure refused the request or did not answer.
        """
        return self._read(f"{URL}{path}", {"api-version": version, **query})

    def items(self, path: str, version: str, **query: str) -> Iterator[Mapping[str, Any]]:
        """Yield the items of a list, from all its pages.

        Raises:
            AzureError: Azure refused a request or did not answer.
        """
        page = self.get(path, version, **query)
        for _ in range(_MOST_PAGES):
            yield from page.get("value") or ()
            link = str(page.get("nextLink") or "")
            # The token goes to no other host, whatever an answer says.
            if urlsplit(link)[:2] != urlsplit(URL)[:2]:
                return
            page = self._read(link, {})

    def post(self, url: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the answer of a service that takes tokens of Resource Manager, such as MLflow.

        Raises:
            AzureError: The service refused the request or did not answer.
        """
        return self._send(HttpRequest("POST", url, json=dict(body)))

    def _read(self, url: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        return self._send(HttpRequest("GET", url, params=dict(query)))

    def _send(self, request: HttpRequest) -> Mapping[str, Any]:
        answer = self._client.send_request(request)
        if answer.status_code >= 400:
            raise _error(answer)
        found: Mapping[str, Any] = answer.json()
        return found


def _error(answer: Any) -> HttpResponseError:
    """Return Azure's refusal as the class of error that azure-ai-ml would raise."""
    classes = {401: ClientAuthenticationError, 404: ResourceNotFoundError}
    kind = classes.get(answer.status_code, HttpResponseError)
    return kind(response=answer, error_format=ARMErrorFormat)
