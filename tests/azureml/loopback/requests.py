"""What was asked, and what is made to go wrong."""

import time
from dataclasses import dataclass, field
from enum import Enum
from threading import Lock


class Fault(Enum):
    """What can befall one request."""

    THROTTLED = "429 with Retry-After, without effect"
    BROKEN = "500, without effect"
    CONFLICT = "409, without effect"
    CHANGED = "412 as for an ETag of an older state, without effect"
    EXPIRED = "401 as for an expired token, without effect"
    WRONG_TENANT = "401 as for a login of another tenant, without effect"
    FORBIDDEN = "403 as for a missing role, without effect"
    LOST_REQUEST = "the connection drops before the effect"
    LOST_ANSWER = "the connection drops after the effect"
    SLOW = "the answer takes a second"


@dataclass
class Request:
    """One request that reached the control plane, its data plane or its storage."""

    index: int
    method: str
    host: str
    path: str
    query: dict[str, str]
    body_bytes: int
    # Of the control plane alone: what is uploaded would fill the memory.
    content: bytes = field(default=b"", repr=False)
    status: int = 0
    fault: Fault | None = None
    # The deployment that the header azureml-model-deployment names.
    deployment: str = ""

    @property
    def api_version(self) -> str:
        return self.query.get("api-version", "")

    @property
    def is_storage(self) -> bool:
        return ".blob." in self.host

    def __str__(self) -> str:
        short = self.path.partition("/workspaces/")[2] or self.path
        return f"{self.index} {self.method} {short} {self.api_version} -> {self.status}"


@dataclass
class Recorder:
    """All requests in order, and the faults that wait for some of them.

    ``unknown`` holds what nothing here answers, ``broken_answers`` where our own answers left the
    OpenAPI: a test must find both empty.
    """

    requests: list[Request] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    broken_answers: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def add(
        self, method: str, host: str, path: str, query: dict[str, str], body_bytes: int
    ) -> Request:
        with self._lock:
            index = len(self.requests)
            request = Request(index, method, host, path, query, body_bytes)
            request.fault = self.faults.pop(index, None)
            self.requests.append(request)
        return request

    def inject(self, fault: Fault, at: int = 0) -> None:
        """Let the request after ``at`` more go wrong."""
        with self._lock:
            self.faults[len(self.requests) + at] = fault

    def wait_for(self, count: int, timeout_s: float = 60) -> None:
        """Wait until so many requests came."""
        limit = time.monotonic() + timeout_s
        while len(self.requests) < count:
            assert time.monotonic() < limit, f"only {len(self.requests)} requests came"
            time.sleep(0.01)

    def indexes(self, every: bool = True) -> list[int]:
        """Those of all requests, or of the first, the last and those that write.

        What only reads and fails is asked for again; what writes may have had its effect.
        """
        found = [it.index for it in self.requests if every or it.method not in ("GET", "HEAD")]
        return sorted({0, *found, len(self.requests) - 1})

    def clear(self) -> None:
        """Forget all: indexes begin at 0 again."""
        with self._lock:
            self.requests.clear()
            self.faults.clear()
            self.unknown.clear()
            self.broken_answers.clear()

    @property
    def uploaded_bytes(self) -> int:
        """How many bytes went into blobs."""
        return sum(r.body_bytes for r in self.requests if r.is_storage and r.method == "PUT")
