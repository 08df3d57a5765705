"""Long-running operations: what takes several polls."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from loopback.answers import Answer, Refusal

POLLS = 3
_SOON = {"x-ms-retry-after-ms": "10"}


@dataclass
class _Operation:
    """How often it still says that it goes on, and its end."""

    polls_left: int
    finish: Callable[[], Any]
    # Azure's reason if the operation ended without success.
    problem: str = ""


@dataclass
class Operations:
    """Those of a workspace and its registries, until they are finished and after."""

    _begun: dict[str, _Operation] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def begin(self, answer: Answer, finish: Callable[[], Any] = lambda: None) -> Answer:
        """The answer with the address that tells in its body how the operation goes."""
        answer.headers |= _SOON | {
            "Azure-AsyncOperation": _location(self._add(finish), "mfeOperationsStatus")
        }
        return answer

    def begin_located(self, answer: Answer, finish: Callable[[], Any]) -> Answer:
        """The answer with the address that tells by its status how the operation goes."""
        answer.headers |= _SOON | {"Location": _location(self._add(finish), "mfeOperationResults")}
        return answer

    def poll(self, kind: str, key: str) -> Answer:
        """How an operation goes.

        Raises:
            Refusal: There is none.
        """
        with self._lock:
            if key not in self._begun:
                raise Refusal(404, "NotFound", f"there is no operation {key}")
            operation = self._begun[key]
            operation.polls_left -= 1
            done = operation.polls_left <= 0
            if done:
                operation.problem = operation.finish() or ""
        if kind == "mfeOperationResults":
            again = {"Location": _location(key, kind)} | _SOON
            return Answer(200) if done else Answer(202, None, again)
        body: dict[str, Any] = {"name": key, "status": "Succeeded" if done else "InProgress"}
        if operation.problem:
            error = {"code": "ResourceNotReady", "message": operation.problem}
            body |= {"status": "Failed", "error": error}
        return Answer(200, body, dict(_SOON))

    def _add(self, finish: Callable[[], Any]) -> str:
        key = uuid.uuid4().hex
        self._begun[key] = _Operation(POLLS, finish)
        return key


def _location(key: str, kind: str) -> str:
    return (
        "https://management.azure.com/providers/Microsoft.MachineLearningServices"
        f"/{kind}/{key}?api-version=2023-04-01"
    )
