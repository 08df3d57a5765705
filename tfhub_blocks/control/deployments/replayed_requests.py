"""Requests from a file, and the answers of one deployment of an endpoint to them."""

# decision 112

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import requests

from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError

# The header that sends a request to a deployment, whatever its share of the traffic. The SDK's
# `invoke` sets it in a dictionary that all later calls share, so requests are sent without it.
# https://learn.microsoft.com/azure/machine-learning/how-to-safely-rollout-online-endpoints
DEPLOYMENT_HEADER = "azureml-model-deployment"
_SCOPE = "https://ml.azure.com/.default"
_TIMEOUT_S = 180.0  # Azure ends a request to an online endpoint after that
_LARGEST_FILE = 256 * 1024 * 1024
_LARGEST_ANSWER = 16 * 1024 * 1024
_OPTION = "--requests"


@dataclass(frozen=True)
class ReplayedRequest:
    """A request body, with the answer that was collected when a client sent it, or None."""

    body: Any
    collected: Any = None


@dataclass(frozen=True)
class DeploymentAnswer:
    """An answer: its HTTP status, 0 without one; its seconds; and its JSON, or None."""

    status: int
    seconds: float
    content: Any = None

    @property
    def is_answered(self) -> bool:
        """True if the deployment answered with predictions."""
        return self.status == HTTPStatus.OK and self.content is not None


Ask = Callable[[str, ReplayedRequest], DeploymentAnswer]
"""Sends a request to the deployment of a name."""


def read_requests(path: Path, at_least: int, where: str) -> tuple[ReplayedRequest, ...]:
    """Return the requests of a file with one JSON object a line.

    A line is the body of a request, or ``{"request": BODY, "answer": ANSWER}`` with the answer that
    a client got.

    Raises:
        BlocksError: The file does not exist, is too large, contains a line in another form, or
            contains fewer requests than needed.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise _refused(where, path, f"{path} is larger than {_LARGEST_FILE} bytes")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        problem = f"{path} cannot be read ({type(error).__name__})"
        raise _refused(where, path, problem) from None
    numbered = [(n, it) for n, it in enumerate(text.split("\n"), 1) if it.strip()]
    found = tuple(_request(where, path, number, line) for number, line in numbered)
    if len(found) < at_least:
        raise BlocksError(
            where,
            f"{_OPTION} {path}",
            f"{path} contains {len(found)} requests, and the profile needs {at_least}",
            "",
            "Collect more requests, or lower deployments.rollout.min_requests in the profile",
        )
    return found


def _request(where: str, path: Path, number: int, line: str) -> ReplayedRequest:
    try:
        read = json.loads(line)
    except (ValueError, RecursionError):
        read = None
    if not isinstance(read, dict):
        raise _refused(where, path, f"line {number} of {path} is not a JSON object")
    if set(read) == {"request", "answer"}:
        return ReplayedRequest(read["request"], read["answer"])
    return ReplayedRequest(read)


def _refused(where: str, path: Path, problem: str) -> BlocksError:
    return BlocksError(
        where,
        f"{_OPTION} {path}",
        problem,
        "one JSON object a line, each the body of a request to the endpoint",
        'Write lines such as {"inputs": ["..."]}, of requests that clients sent',
    )


def asks_of(connection: Connection, endpoint: str, where: str) -> Ask:
    """Return a function that sends requests to an endpoint's deployments as the current login.

    An answer that does not arrive is no error here: it counts as a failed request.

    Raises:
        BlocksError: The endpoint cannot be read, or no login was found.
    """
    with told(where, f"endpoint {endpoint}"):
        address = connection.client.online_endpoints.get(endpoint).scoring_uri
    session = requests.Session()

    def ask(deployment: str, request: ReplayedRequest) -> DeploymentAnswer:
        # The credential keeps its token until it is about to expire.
        with told(where, f"endpoint {endpoint}"):
            token = connection.credential.get_token(_SCOPE).token
        headers = {"Authorization": f"Bearer {token}", DEPLOYMENT_HEADER: deployment}
        began = time.perf_counter()
        try:
            with session.post(
                address,
                json=request.body,
                headers=headers,
                timeout=_TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            ) as answer:
                data = answer.raw.read(_LARGEST_ANSWER + 1, decode_content=True)
                status = answer.status_code
        except (requests.RequestException, OSError):
            return DeploymentAnswer(0, time.perf_counter() - began)
        return DeploymentAnswer(status, time.perf_counter() - began, _content(data))

    return ask


def _content(data: bytes) -> Any:
    if len(data) > _LARGEST_ANSWER:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def replay(
    ask: Ask, found: Sequence[ReplayedRequest], before: str, new: str
) -> list[tuple[DeploymentAnswer, DeploymentAnswer]]:
    """Return the answers of two deployments to each request, the deployment before first.

    The two are asked in turn, and each is the first for every other request, so that a network or a
    cache that changes meanwhile concerns both.
    """
    pairs = []
    for index, request in enumerate(found):
        names = (before, new) if index % 2 == 0 else (new, before)
        answers = {name: ask(name, request) for name in names}
        pairs.append((answers[before], answers[new]))
    return pairs
