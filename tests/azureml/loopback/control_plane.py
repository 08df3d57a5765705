"""Azure ML on loopback, as one object to start and to ask."""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loopback import registries, rules, runs, surroundings
from loopback.certificates import Certificates, make_certificates
from loopback.contract import Contract
from loopback.egress import EgressGuard
from loopback.execution import Executor
from loopback.identity import LIFETIME_S, IdentityEndpoint
from loopback.mlflow_server import MlflowServer
from loopback.registries import Registry
from loopback.requests import Recorder, Request
from loopback.resources import (
    GROUP,
    REGION,
    WORKSPACE,
    Answer,
    Refusal,
    Workspace,
)
from loopback.server import LoopbackServer
from loopback.storage import Storage
from loopback.tracking import Tracking

HOSTS = [
    "management.azure.com",
    *surroundings.PUBLIC_HOSTS,
    f"*.{REGION}{surroundings.SCORING}",
    "*.api.azureml.ms",
    "*.experiments.azureml.net",
    "*.blob.core.windows.net",
]


@dataclass
class ControlPlane:
    """Everything that the SDK talks to. Start it once; ``reset`` gives an empty workspace."""

    folder: Path
    azurite: Path
    recorder: Recorder = field(default_factory=Recorder)
    executor: Executor | None = None
    start_s: float = 0.0
    certificates: Certificates = field(init=False)
    storage: Storage = field(init=False)
    workspace: Workspace = field(init=False)
    # Those beside it, which hold assets and run nothing.
    others: list[Workspace] = field(default_factory=list)
    mlflow: MlflowServer = field(init=False)
    tracking: Tracking = field(init=False)

    def start(self) -> "ControlPlane":
        """Start all servers.

        Raises:
            RuntimeError: Azurite does not start.
        """
        self.temporary.mkdir()
        self.certificates = make_certificates(self.folder, [*HOSTS, "localhost"])
        self.storage = Storage(self.azurite, self.certificates, self.folder)
        self.storage.start()
        self.contract = Contract()
        self.identity = IdentityEndpoint()
        self.mlflow = MlflowServer(self.folder / "mlflow")
        self._server = LoopbackServer(self)
        self.guard = EgressGuard(dict.fromkeys(HOSTS, self._server.server_port))
        self.storage.wait()
        self.reset()
        return self

    def stop(self) -> None:
        """Stop all servers."""
        for server in (self._server, self.guard, self.identity):
            server.shutdown()
            server.server_close()
        self.mlflow.stop()
        self.storage.stop()

    def reset(self) -> None:
        """An empty workspace with empty storage, and an empty record."""
        self.executor = None
        self.storage.renew()
        self.workspace = Workspace(self.storage, rules.check)
        self.workspace.person = lambda: self.identity.person
        self.others = []
        self.tracking = Tracking(self.mlflow, self.workspace, self.identity)
        self.identity.lifetime_s, self.identity.person = LIFETIME_S, ""
        self.recorder.clear()
        self.guard.take_refused()

    def reset_content(self) -> None:
        """The same workspace, empty."""
        subscription = self.workspace.subscription
        self.reset()
        self.workspace.subscription = subscription

    def environment(self) -> dict[str, str]:
        """The variables that lead a process here, and let it go nowhere else."""
        trusted = str(self.certificates.authority)
        proxies = dict.fromkeys(
            ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"), self.guard.url
        )
        local = "localhost,127.0.0.1"
        return {
            **proxies,
            **self.identity.environment(),
            "NO_PROXY": local,
            "no_proxy": local,
            "REQUESTS_CA_BUNDLE": trusted,
            "SSL_CERT_FILE": trusted,
            # Where the SDK remembers which components it submitted.
            "TMPDIR": str(self.temporary),
            # It goes to a host of its makers'.
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "AZUREML_RUN_POLLING_INTERVAL_MIN": "1",
            "AZUREML_RUN_POLLING_INTERVAL_MAX": "1",
        }

    @property
    def temporary(self) -> Path:
        """A folder for temporary files of the processes under test."""
        return self.folder / "temporary"

    def client(self) -> Any:
        """A plain ``MLClient``, for a process that has ``environment()``."""
        from azure.ai.ml import MLClient
        from azure.identity import DefaultAzureCredential

        return MLClient(DefaultAzureCredential(), self.workspace.subscription, GROUP, WORKSPACE)

    def add_registry(self, name: str) -> Registry:
        """A new, empty registry."""
        return registries.add_registry(self.workspace, name)

    def add_workspace(self, name: str) -> Workspace:
        """A new, empty workspace beside the other, with the same storage."""
        made = Workspace(self.storage, rules.check, name=name)
        made.person = self.workspace.person
        self.others.append(made)
        return made

    def registry_client(self, name: str) -> Any:
        """A plain ``MLClient`` for a registry, for a process that has ``environment()``."""
        from azure.ai.ml import MLClient
        from azure.identity import DefaultAzureCredential

        return MLClient(DefaultAzureCredential(), registry_name=name)

    def write_config(self, folder: Path, workspace: Workspace | None = None) -> Path:
        """A workspace's ``config.json``, as Studio's download button gives it."""
        path, of = folder / "config.json", workspace or self.workspace
        names = {
            "subscription_id": of.subscription,
            "resource_group": GROUP,
            "workspace_name": of.name,
        }
        path.write_text(json.dumps(names))
        return path

    def run_jobs(self) -> Executor:
        """Let each job that is submitted from now on run, from what was uploaded."""
        folder = self.folder / "jobs" / self.workspace.subscription
        self.executor = Executor(self.workspace, folder, self.tracking.variables)
        self.workspace.on_job = self.executor
        return self.executor

    def end_jobs(self) -> None:
        """Cancel the jobs that still run."""
        if self.executor is not None:
            self.executor.cancel()

    def problems(self) -> list[str]:
        """What no test may leave behind unless it asked for it."""
        refused = [f"refused: {host}" for host in self.guard.refused]
        unknown = [f"unknown: {request}" for request in self.recorder.unknown]
        if self.executor is not None:
            unknown += self.executor.faults
        unknown += [f"undeclared: {it}" for it in self.workspace.surroundings.undeclared]
        return refused + unknown + [f"our answer: {text}" for text in self.recorder.broken_answers]

    def answer(self, request: Request, body: bytes) -> Answer:
        """The answer to a request that has a good token."""
        if request.host in surroundings.PUBLIC_HOSTS:
            return self._known(request, surroundings.public_answer(self.workspace, request))
        if request.host.endswith(surroundings.SCORING):
            return self._known(request, surroundings.score(self.workspace, request, body))
        self.workspace.surroundings.refuse_forbidden(request)
        if found := self.tracking.answer(request, body):
            return found
        content = json.loads(body) if body else None
        if found := registries.answer(self.workspace, request, content):
            return found
        # Registries serve the same operations, as if they were Resource Manager.
        path = request.path.removeprefix(registries.PATH_PREFIX)
        if request.host.endswith(".api.azureml.ms"):
            return self._known(request, runs.answer(self.workspace, request, content))
        if poll := re.search(r"/(mfeOperation\w+)/(\w+)$", path):
            return self.workspace.operations.poll(*poll.groups())
        if found := surroundings.answer(self.workspace, request):
            return found
        operation = self.contract.operation(request.method, path, request.api_version)
        if operation is None:
            return self._known(request, None)
        if problems := self.contract.request_problems(operation, request.query, content):
            raise Refusal(400, "InvalidRequest", "; ".join(problems))
        try:
            found = surroundings.location_answer(self.workspace, path) or self._place_of(
                path
            ).handle(request.method, path, request.query, content)
        except Refusal as error:
            found = error.answer
        answer = self._known(request, found)
        self.recorder.broken_answers += self.contract.answer_problems(
            operation, answer.status, answer.body
        )
        return answer

    def _place_of(self, path: str) -> Workspace:
        for registry in self.workspace.registries.values():
            if path.lower().startswith(f"{registry.id}/".lower()):
                return registry
        for other in self.others:
            if f"{path}/".lower().startswith(f"{other.id}/".lower()):
                return other
        return self.workspace

    def _known(self, request: Request, answer: Answer | None) -> Answer:
        if answer is not None:
            return answer
        self.recorder.unknown.append(str(request))
        message = f"nothing here answers {request.method} {request.path} {request.query}"
        return Answer(404, {"error": {"code": "NotFound", "message": message}})
