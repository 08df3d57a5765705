"""The data plane: where the workspace's services are, and what its runs did."""

import re
from datetime import UTC, datetime
from typing import Any

from loopback.identity import object_of
from loopback.requests import Request
from loopback.resources import DATA_PLANE, Answer, Workspace

_SERVICES = "api catalog experimentation history hyperdrive labeling modelmanagement pipelines"
_RUN = re.compile(r"/history/v1\.0.*/workspaces/\w+/runs/([\w-]+)(?:/(\w+))?$")


def answer(workspace: Workspace, request: Request, body: Any) -> Answer | None:
    """The answer to a request to the data plane; None if there is no such route."""
    if request.path == "/discovery":
        return Answer(200, dict.fromkeys(_SERVICES.split(), DATA_PLANE))
    if workspace.id.lower() not in request.path.lower():
        return None
    if match := _RUN.match(request.path):
        run = workspace.get_run(match[1])
        if request.method == "GET" and match[2] is None:
            return Answer(200, run)
        if request.method == "GET" and match[2] == "details":
            return Answer(200, _details(run))
        if request.method == "GET" and match[2] == "children":
            # In one page: the SDK does not ask for a second.
            return Answer(200, {"value": workspace.child_runs(match[1])})
    if request.method == "POST" and request.path.endswith("/rundata"):
        return Answer(200, {"runMetadata": workspace.get_run(body["runId"])})
    if request.method == "POST" and request.path.endswith("/batchGetResolvedUris"):
        return _resolved(workspace, request.path, body["values"])
    return None


def run_of_job(job: dict[str, Any]) -> dict[str, Any]:
    """A job as the run history shows it."""
    properties, now = job["properties"], datetime.now(UTC).isoformat()
    made = job["systemData"]
    person = made["createdBy"] if made["createdByType"] == "User" else ""
    return {
        "runId": job["name"],
        "rootRunId": job["name"],
        "displayName": properties.get("displayName"),
        "status": properties["status"],
        "runType": "azureml.PipelineRun",
        "startTimeUtc": now,
        "createdUtc": now,
        "createdBy": {"userObjectId": object_of(person), "userName": made["createdBy"]},
        "properties": properties["properties"],
        "tags": properties["tags"],
        "outputs": {
            name: output_of_run(output["uri"], output["jobOutputType"])
            for name, output in properties["outputs"].items()
            if output.get("uri") and name != "default"
        },
    }


_RUN_TYPES = {
    "uri_file": "uri_file",
    "uri_folder": "uri_folder",
    "mltable": "mltable",
    "mlflow_model": "MLFlowModel",
    "custom_model": "CustomModel",
    "triton_model": "TritonModel",
}


def output_of_run(uri: str, kind: str) -> dict[str, str]:
    """An output as the run history shows it."""
    return {"assetId": uri, "type": _RUN_TYPES[kind]}


def _details(run: dict[str, Any]) -> dict[str, Any]:
    return {
        "runId": run["runId"],
        "status": run["status"],
        "startTimeUtc": run["startTimeUtc"],
        "properties": run["properties"],
        "error": run.get("error"),
        "warnings": [],
        "inputDatasets": [],
        "outputDatasets": [],
        "logFiles": run.get("logFiles", {}),
    }


def _resolved(workspace: Workspace, path: str, asset_ids: list[str]) -> Answer:
    """Where assets lie. Outputs go by their addresses here, so they are their own answer."""
    key = "path" if "/modelregistry/" in path else "uri"
    base = f"azureml:/{workspace.id}".replace("/providers/Microsoft.MachineLearningServices", "")
    values = {
        asset: {key: asset.replace("azureml://datastores", f"{base}/datastores")}
        for asset in asset_ids
    }
    return Answer(200, {"values": values})
