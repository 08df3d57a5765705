"""Tracking and model registry as Azure ML serves them: MLflow's API under the workspace's id."""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import RLock
from typing import Any
from urllib.parse import urlencode

from loopback.identity import LIFETIME_S, IdentityEndpoint
from loopback.mlflow_server import MlflowServer
from loopback.requests import Request
from loopback.resources import DATA_PLANE, GROUP, REGION, WORKSPACE, Answer, Refusal, Workspace

# What Azure ML has of MLflow's API; not its logged models, traces and prompts.
_SERVED = re.compile(
    r"/mlflow/v[12]\.0(?P<scope>/subscriptions/.+/workspaces/[^/]+)"
    r"(?P<call>/api/2\.0/mlflow/(?:experiments|runs|metrics|registered-models|model-versions)/.+)",
    re.I,
)
_ARTIFACTS = re.compile(
    r"/history/v1\.0.*/experiment(?:id)?s/[^/]+/runs/(?P<run>[\w-]+)/artifacts(?:/(?P<call>.+))?"
)
_RUN_SOURCE = re.compile(r"azureml://.*/runs/([\w-]+)/artifacts/(.+)")
# MLflow puts the run where Azure ML puts `runs/` and the run.
_PLAIN_ARTIFACT_URI = re.compile(rb'(/experiments/[^/"]+)/([^/"]+/artifacts)')
# What MLflow's clients send who chose none.
_NO_EXPERIMENT = "0"
_STATUSES = {"Running": "RUNNING", "Completed": "FINISHED", "Failed": "FAILED"} | dict.fromkeys(
    ("Canceled", "CancelRequested"), "KILLED"
)
_ENDED = {"FINISHED", "FAILED", "KILLED"}


@dataclass
class Tracking:
    """What a workspace keeps in MLflow. Jobs and their steps are runs of their own names."""

    server: MlflowServer
    workspace: Workspace
    identity: IdentityEndpoint
    _shown: dict[str, str] = field(default_factory=dict)
    _experiments: dict[str, str] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    def answer(self, request: Request, body: bytes) -> Answer | None:
        """The answer to a request to MLflow or for a run's artifacts; None if there is none."""
        match = _SERVED.fullmatch(request.path)
        if match and match["scope"].lower() == self.workspace.id.lower():
            try:
                return self._forward(request, match["call"], body)
            except Refusal as error:
                return _error(error.answer.status, "BAD_REQUEST", str(error))
        match = _ARTIFACTS.fullmatch(request.path)
        if match and self.workspace.id.lower() in request.path.lower():
            return self._artifacts(match["run"], match["call"], request.query, body)
        return None

    def variables(self, run: str) -> dict[str, str]:
        """The environment variables that Azure ML sets for a step, by its run.

        But for ``MLFLOW_EXPERIMENT_ID``, for which MLflow would have to run.
        """
        found = self.workspace.get_run(run)
        names = self.workspace
        experiment = self._experiment_name(found)
        token = self.identity.issue("https://ml.azure.com", LIFETIME_S)
        return {
            "MLFLOW_TRACKING_URI": names.tracking_uri,
            "MLFLOW_TRACKING_TOKEN": token,
            "MLFLOW_RUN_ID": run,
            "MLFLOW_EXPERIMENT_NAME": experiment,
            "AZUREML_RUN_ID": run,
            "AZUREML_ROOT_RUN_ID": found["rootRunId"],
            "AZUREML_RUN_TOKEN": token,
            "AZUREML_ARM_SUBSCRIPTION": names.subscription,
            "AZUREML_ARM_RESOURCEGROUP": GROUP,
            "AZUREML_ARM_WORKSPACE_NAME": WORKSPACE,
            "AZUREML_ARM_PROJECT_NAME": experiment,
            "AZUREML_WORKSPACE_ID": names.document()["properties"]["workspaceId"],
            "AZUREML_WORKSPACE_SCOPE": names.id,
            "AZUREML_EXPERIMENT_SCOPE": f"{names.id}/experiments/{experiment}",
            "AZUREML_SERVICE_ENDPOINT": DATA_PLANE,
            "AZUREML_DISCOVERY_SERVICE_ENDPOINT": f"{DATA_PLANE}/discovery",
            "AZUREML_RUN_HISTORY_SERVICE_ENDPOINT": DATA_PLANE,
        }

    @property
    def _space(self) -> str:
        return self.workspace.subscription

    @property
    def _artifact_root(self) -> str:
        return f"azureml://{REGION}.api.azureml.ms/mlflow/v2.0{self.workspace.id}/experiments"

    def _forward(self, request: Request, call: str, body: bytes) -> Answer:
        self.server.open_space(self._space, self._artifact_root)
        self._show_runs()
        given = json.loads(body) if body else {}
        if call.endswith("/model-versions/create"):
            self._check_source(given["source"])
        if call.endswith("/runs/create") and given["experiment_id"] == _NO_EXPERIMENT:
            default = self._experiment_id("Default")
            body = json.dumps(given | {"experiment_id": default}).encode()
        status, data = self.server.ask(
            request.method, call, urlencode(request.query), body, self._space
        )
        data = _PLAIN_ARTIFACT_URI.sub(rb"\1/runs/\2", data)
        answer = json.loads(data) if data else None
        if status == 200 and request.method != "GET" and "/model-versions/" in call:
            self._show_model(answer.get("model_version") or given)
        if status >= 400:
            return _error(status, answer["error_code"], answer["message"])
        return Answer(status, answer)

    def _show_runs(self) -> None:
        """Let MLflow have each job and each step of one as a run, with its status."""
        with self._lock:
            jobs = [self.workspace.get_run(job["name"]) for job in self.workspace.versions("jobs")]
            for run in [*jobs, *self.workspace.step_runs.values()]:
                status = _STATUSES.get(run["status"], "SCHEDULED")
                if self._shown.get(run["runId"]) != status:
                    self._show_run(run, status)
                    self._shown[run["runId"]] = status

    def _show_run(self, run: Mapping[str, Any], status: str) -> None:
        name, experiment = run["runId"], self._experiment_id(self._experiment_name(run))
        now_ms = int(time.time() * 1000)
        row = {
            "run_uuid": name,
            "name": run["displayName"],
            "source_type": "JOB",
            "user_id": "tests",
            "status": status,
            "start_time": now_ms,
            "end_time": now_ms if status in _ENDED else None,
            "lifecycle_stage": "active",
            "artifact_uri": f"{self._artifact_root}/{experiment}/runs/{name}/artifacts",
            "experiment_id": int(experiment),
        }
        tags = {"mlflow.runName": run["displayName"] or name, "mlflow.rootRunId": run["rootRunId"]}
        if run.get("parentRunId"):
            tags["mlflow.parentRunId"] = run["parentRunId"]
        self.server.put_run(row, tags)

    def _experiment_name(self, run: Mapping[str, Any]) -> str:
        job = self.workspace.get(f"jobs/{run['rootRunId']}")
        return job["properties"].get("experimentName") or "Default"

    def _experiment_id(self, name: str) -> str:
        with self._lock:
            if name not in self._experiments:
                self.server.open_space(self._space, self._artifact_root)
                made = self.server.call("POST", "experiments/create", self._space, name=name)
                if made is None:  # it is there: a client made it
                    tail = f"experiments/get-by-name?{urlencode({'experiment_name': name})}"
                    made = self.server.call("GET", tail, self._space)["experiment"]
                self._experiments[name] = made["experiment_id"]
            return self._experiments[name]

    def _artifacts(
        self, run: str, call: str | None, query: Mapping[str, str], body: bytes
    ) -> Answer | None:
        """Where files of a run are read and written: addresses with a signature, in storage."""
        root = _artifact_folder(run)
        if call is None:
            place = self.workspace.storage.locate(root)
            assert place is not None
            names = [n.removeprefix(f"{place[1]}/") for n in self.workspace.storage.names(root)]
            return Answer(200, {"value": [_artifact(run, name) for name in names]})
        if call == "contentinfo":
            if not self.workspace.storage.holds(f"{root}/{query['path']}"):
                raise Refusal(404, "UserError", f"run {run} has no artifact {query['path']}")
            return Answer(200, self._content(run, query["path"]))
        if call == "batch/metadata":
            paths = [entry["path"] for entry in json.loads(body)["paths"]]
            made = {
                "artifacts": {path: _artifact(run, path) for path in paths},
                "artifactContentInformation": {path: self._content(run, path) for path in paths},
                "errors": {},
            }
            return Answer(200, made)
        return None

    def _content(self, run: str, path: str) -> dict[str, Any]:
        return _artifact(run, path) | {
            "contentUri": self.workspace.storage.signed(f"{_artifact_folder(run)}/{path}")
        }

    def _check_source(self, source: str) -> None:
        if not self.workspace.storage.holds(f"{_stored(source)}/MLmodel"):
            raise Refusal(400, "UserError", f"there is no MLflow model at {source}")

    def _show_model(self, version: Mapping[str, Any]) -> None:
        """Let the workspace have a version of a model as MLflow has it."""
        query = urlencode({"name": version["name"], "version": version["version"]})
        found = self.server.call("GET", f"model-versions/get?{query}", self._space)
        if found is None:  # it was deleted
            return
        found = found["model_version"]
        body = {
            "properties": {
                "modelUri": _stored(found["source"]),
                "modelType": "mlflow_model",
                "jobName": found.get("run_id") or None,
                "description": found.get("description") or None,
                "tags": {tag["key"]: tag["value"] for tag in found.get("tags", [])},
                "properties": {},
            }
        }
        short_id = f"{self.workspace.id}/models/{found['name']}/versions/{found['version']}"
        self.workspace.handle("PUT", short_id, {}, body)


def _error(status: int, code: str, message: str) -> Answer:
    """An error of MLflow's, in the form that Azure ML gives it."""
    error = {"Code": "UserError", "Message": message, "Details": []}
    return Answer(status, {"Error": error, "ComponentName": "mlflow", "error_code": code})


def _artifact_folder(run: str) -> str:
    return f"azureml://datastores/workspaceartifactstore/paths/ExperimentRun/dcid.{run}"


def _stored(source: str) -> str:
    """Where the files of a model version lie, by the address that MLflow has."""
    match = _RUN_SOURCE.fullmatch(source)
    return f"{_artifact_folder(match[1])}/{match[2]}" if match else source


def _artifact(run: str, path: str) -> dict[str, Any]:
    container = f"dcid.{run}"
    return {"origin": "ExperimentRun", "container": container, "path": path, "tags": {}} | {
        "artifactId": f"ExperimentRun/{container}/{path}"
    }
