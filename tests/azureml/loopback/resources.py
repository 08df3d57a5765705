"""The workspace: resources by their ids, kept as Azure Resource Manager keeps them."""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import RLock
from typing import Any

from loopback.answers import Answer, Refusal
from loopback.identity import OBJECT, TENANT
from loopback.lists import page, selected, selected_jobs
from loopback.operations import Operations
from loopback.storage import ACCOUNT, HOST, Storage
from loopback.surroundings import Surroundings, identity_of

GROUP = "tests"
WORKSPACE = "loopback"
REGION = "westeurope"
DATA_PLANE = f"https://{REGION}.api.azureml.ms"
PROVIDER = "Microsoft.MachineLearningServices"
# Azure's words for a subscription that may not have a size of machines.
NO_QUOTA = (
    "The specified subscription has a total vCPU quota of 0 and cannot accomodate for at least 1 "
    "requested managed compute node which maps to 6 vCPUs."
)
TRIGGER_TIME = "${{creation_context.trigger_time}}"

VERSIONED = {"codes", "components", "data", "environments", "models"}
ENDPOINTS = {"batchEndpoints", "onlineEndpoints"}
_LONG_RUNNING = {"computes", "schedules"} | ENDPOINTS
# What may change in a version that exists.
_MUTABLE = {"tags", "description", "isArchived", "properties"}


@dataclass
class Workspace:
    """One workspace with its resources, in a subscription of its own.

    (The SDK keeps the ids of components in a cache on disk, by subscription: an empty workspace in
    an old subscription would be sent ids that it does not know.) ``check`` is asked before a
    resource is written, and raises a Refusal; ``on_job`` is told of each new job; ``person`` tells
    whose requests these are, nothing if an application's.
    """

    storage: Storage
    check: Callable[["Workspace", str, dict[str, Any]], None]
    on_job: Callable[[str], None] = lambda _: None
    person: Callable[[], str] = lambda: ""
    subscription: str = field(default_factory=lambda: str(uuid.uuid4()))
    tags: dict[str, str] = field(default_factory=dict)
    # Sizes of machines that cannot be had, in small letters, each with Azure's reason.
    refused_sizes: dict[str, str] = field(default_factory=dict)
    # Names of deployments that fail after they were accepted; Azure keeps and bills these.
    failing: set[str] = field(default_factory=set)
    # What runs did that are no jobs of their own, by run id.
    step_runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    # The schedule of each job that was fired by one.
    fired: dict[str, str] = field(default_factory=dict)
    # The registries that it may take assets from, by name.
    registries: dict[str, Any] = field(default_factory=dict)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    operations: Operations = field(default_factory=Operations)
    lock: RLock = field(default_factory=RLock)
    name: str = WORKSPACE
    # How many reads miss each new resource of a kind, as Azure's reads may miss what is just made.
    late: dict[str, int] = field(default_factory=dict)
    # What is beside it in Azure: roles, storage account, registry, vault, sizes, quota.
    surroundings: Surroundings = field(default_factory=Surroundings)
    # What of its own description differs from that of an ordinary workspace.
    settings: dict[str, Any] = field(default_factory=dict)
    _missed: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("workspaceblobstore", "workspaceartifactstore"):
            self.store(f"datastores/{name}", _datastore(name, self.storage.container))

    @property
    def group_id(self) -> str:
        """The id of the resource group."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{GROUP}"

    @property
    def id(self) -> str:
        """The workspace's id."""
        return f"{self.group_id}/providers/{PROVIDER}/workspaces/{self.name}"

    @property
    def asset_root(self) -> str:
        """What the ids of its resources begin with."""
        return self.id

    @property
    def tracking_uri(self) -> str:
        """Where MLflow's clients find the workspace."""
        return f"azureml://{REGION}.api.azureml.ms/mlflow/v1.0{self.id}"

    def handle(self, method: str, path: str, query: Mapping[str, str], body: Any) -> Answer | None:
        """The answer to a request below the workspace's id; None if there is no such route."""
        if path.lower() == self.id.lower():
            return Answer(200, self.document()) if method == "GET" else None
        if method == "GET" and self.id.lower().startswith(f"{path}/".lower()):
            return Answer(200, {"value": [self.document()]})
        if not path.lower().startswith(f"{self.id}/".lower()):
            raise Refusal(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
        tail = path[len(self.id) + 1 :].split("/")
        with self.lock:
            match method, tail:
                case "GET", [_]:
                    return self._list(tail, query)
                case "GET", [_, _, "versions"]:
                    return self._list(tail, query)
                case "GET", [collection, name, "deployments"] if collection in ENDPOINTS:
                    self.get(f"{collection}/{name}")
                    return self._list(tail, query)
                case "GET", [collection, name] if collection in VERSIONED:
                    return self._container(collection, name)
                case "GET", ["jobs", name] if name in self.step_runs:
                    # Of a step Resource Manager tells no more: clients ask the run history.
                    kind = f"{PROVIDER}/workspaces/jobs"
                    child = {"id": path, "name": name, "type": kind, "properties": None}
                    return Answer(200, child)
                case "GET", [_, _] | [_, _, "versions" | "deployments", _]:
                    self.be_late("/".join(tail))
                    return Answer(200, self.get("/".join(tail)))
                case "PUT", [_, _] | [_, _, "versions" | "deployments", _]:
                    return self._put("/".join(tail), body)
                case "DELETE", [_, _] | [_, _, "versions" | "deployments", _]:
                    return self._delete("/".join(tail))
                case "POST", ["codes", _, "versions", _, "startPendingUpload"]:
                    return self._pending_upload()
                case "POST", ["datastores", _, "listSecrets"]:
                    self.get("/".join(tail[:2]))
                    return Answer(200, {"secretsType": "AccountKey", "key": self.storage.key})
                case "POST", ["jobs", name, "cancel"]:
                    return self._cancel(name)
                case "POST", ["schedules", name, "trigger"]:
                    return self._trigger(name, body or {})
        return None

    def document(self) -> dict[str, Any]:
        """The workspace itself."""
        providers = f"{self.group_id}/providers"
        return {
            "id": self.id,
            "name": self.name,
            "type": f"{PROVIDER}/workspaces",
            "location": REGION,
            "tags": self.tags,
            "identity": {"type": "SystemAssigned", "principalId": OBJECT, "tenantId": TENANT},
            "properties": {
                "workspaceId": str(uuid.uuid5(uuid.NAMESPACE_URL, self.id)),
                "friendlyName": self.name,
                "description": "",
                "keyVault": f"{providers}/Microsoft.KeyVault/vaults/loopback",
                "applicationInsights": f"{providers}/Microsoft.Insights/components/loopback",
                "storageAccount": f"{providers}/Microsoft.Storage/storageAccounts/{ACCOUNT}",
                "hbiWorkspace": False,
                "provisioningState": "Succeeded",
                "discoveryUrl": f"{DATA_PLANE}/discovery",
                "mlFlowTrackingUri": self.tracking_uri,
                "publicNetworkAccess": "Enabled",
                "systemDatastoresAuthMode": "accesskey",
                "tenantId": TENANT,
                **({"containerRegistry": self.registry_id} if self.surroundings.registry else {}),
                **self.settings,
            },
            "systemData": _system_data(self.person()),
        }

    @property
    def registry_id(self) -> str:
        """The id of its container registry."""
        return f"{self.group_id}/providers/Microsoft.ContainerRegistry/registries/loopback"

    def find(self, short_id: str) -> dict[str, Any] | None:
        """A resource by its id below the workspace, such as ``computes/gpu``."""
        return self.resources.get(short_id.lower())

    def find_by_id(self, arm_id: str) -> dict[str, Any] | None:
        """A resource by its whole id, of the workspace or of a registry."""
        text = arm_id.lower().removeprefix("azureml:")
        for place in (self, *self.registries.values()):
            prefix = f"{place.asset_root}/".lower().removeprefix("azureml:")
            if text.startswith(prefix):
                found: dict[str, Any] | None = place.resources.get(text.removeprefix(prefix))
                return found
        return None

    def be_late(self, short_id: str) -> None:
        """Refuse the first reads of a new resource, if its kind is late.

        Raises:
            Refusal: The resource is not seen yet.
        """
        left = self.late.get(short_id.split("/")[0], 0) - self._missed.get(short_id, 0)
        if left > 0 and self.find(short_id):
            self._missed[short_id] = self._missed.get(short_id, 0) + 1
            raise Refusal(404, "NotFound", f"there is no {short_id} in workspace {self.name}")

    def forget(self, short_id: str) -> None:
        """Let what is at an id, and below it, never have been."""
        for key in [k for k in self.resources if k.startswith(f"{short_id.lower()}/")]:
            del self.resources[key]

    def get(self, short_id: str) -> dict[str, Any]:
        """A resource.

        Raises:
            Refusal: There is none.
        """
        found = self.find(short_id)
        if found is None:
            raise Refusal(404, "NotFound", f"there is no {short_id} in workspace {self.name}")
        return found

    def store(self, short_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a resource as it will be read."""
        parts = short_id.split("/")
        kinds = "/".join([PROVIDER, "workspaces", *parts[::2]])
        known = self.find(short_id) or {}
        resource = {
            **json.loads(json.dumps(body)),
            "id": f"{self.asset_root}/{short_id}",
            "name": parts[-1],
            "type": kinds,
            "systemData": {**_system_data(self.person()), **known.get("systemData", {})},
        }
        _complete(self.id, parts[0], resource)
        self.resources[short_id.lower()] = resource
        return resource

    def get_run(self, name: str) -> dict[str, Any]:
        """A job, or a step of one, as the run history shows it.

        Raises:
            Refusal: There is none.
        """
        from loopback.runs import run_of_job

        step = self.step_runs.get(name)
        return step or run_of_job(self.get(f"jobs/{name}"))

    def child_runs(self, name: str) -> list[dict[str, Any]]:
        """The steps of a job."""
        return [run for run in self.step_runs.values() if run["parentRunId"] == name]

    def versions(self, collection: str, name: str | None = None) -> list[dict[str, Any]]:
        """All versions of an asset, or of all assets of a kind, the newest first."""
        prefix = f"{collection}/{name}/versions/" if name else f"{collection}/"
        found = [r for key, r in self.resources.items() if key.startswith(prefix.lower())]
        return found[::-1]

    def endpoints(self, collection: str) -> list[dict[str, Any]]:
        """The endpoints of a kind without their deployments, the newest first."""
        return [r for r in self.versions(collection) if r["id"].split("/")[-2] == collection]

    def deployments(self, collection: str, name: str) -> list[dict[str, Any]]:
        """The deployments of an endpoint, the newest first."""
        prefix = f"{collection}/{name}/deployments/".lower()
        return [r for key, r in self.resources.items() if key.startswith(prefix)][::-1]

    def _list(self, tail: list[str], query: Mapping[str, str]) -> Answer:
        collection = tail[0]
        if collection in ENDPOINTS:
            found = self.deployments(*tail[:2]) if tail[1:] else self.endpoints(collection)
        elif len(tail) == 1 and collection not in VERSIONED:
            found = self.versions(collection)
        elif len(tail) == 1:
            names = dict.fromkeys(r["id"].split("/")[-3] for r in self.versions(collection))
            found = [self._container(collection, name).body for name in names]
        elif "hash" in query:
            # Azure looks for the hash under all names, whatever the path says.
            found = [
                r
                for r in self.versions(collection)
                if (r["properties"].get("properties") or {}).get("hash_sha256") == query["hash"]
            ]
        else:
            found = self.versions(collection, tail[1])
            if not found and collection != "codes":
                raise Refusal(404, "NotFound", f"there is no {collection}/{tail[1]}")
        if collection == "jobs":
            found = selected_jobs(found, query, self.fired)
        return page(f"{self.id}/{'/'.join(tail)}", selected(found, query), query)

    def _container(self, collection: str, name: str) -> Answer:
        versions = self.versions(collection, name)
        if not versions:
            raise Refusal(404, "NotFound", f"there is no {collection}/{name}")
        numbers = [int(v["name"]) for v in versions if re.fullmatch(r"\d+", v["name"])]
        properties: dict[str, Any] = {
            "latestVersion": versions[0]["name"],
            "nextVersion": str(max(numbers, default=0) + 1),
            "isArchived": False,
            "tags": {},
            "properties": {},
        }
        if collection == "data":
            properties["dataType"] = versions[0]["properties"]["dataType"]
        return Answer(
            200,
            {
                "id": f"{self.asset_root}/{collection}/{name}",
                "name": name,
                "type": f"{PROVIDER}/workspaces/{collection}",
                "properties": properties,
                "systemData": versions[0]["systemData"],
            },
        )

    def _put(self, short_id: str, body: dict[str, Any]) -> Answer:
        collection, name = short_id.split("/")[:2]
        self.check(self, short_id, body)
        known = self.find(short_id)
        if known and collection in VERSIONED:
            _check_unchanged(collection, known, body)
        if known and collection == "jobs":
            # A job is written once; only its tags and the like may change.
            changes = {key: v for key, v in body["properties"].items() if key in _MUTABLE}
            known["properties"] |= changes
            return Answer(200, known)
        resource = self.store(short_id, body)
        if collection == "jobs":
            self.on_job(name)
        if collection in _LONG_RUNNING:
            return self._long_running(resource, 200 if known else 201)
        return Answer(200 if known else 201, resource)

    def _delete(self, short_id: str) -> Answer:
        if self.find(short_id) is None:
            return Answer(204)
        resource = self.get(short_id)
        if resource["id"].split("/")[-2] == "schedules" and resource["properties"]["isEnabled"]:
            raise Refusal(
                400, "UserError", "Cannot delete an active schedule; please disable it first."
            )
        if short_id.split("/")[0] in ENDPOINTS:
            return self._delete_served(short_id)
        del self.resources[short_id.lower()]
        if short_id.split("/")[0] in _LONG_RUNNING:
            return self.operations.begin(Answer(202))
        return Answer(200)

    def _delete_served(self, short_id: str) -> Answer:
        """An endpoint goes with its deployments; a deployment does not go while it has traffic."""
        endpoint, _, deployment = short_id.partition("/deployments/")
        traffic = self.get(endpoint)["properties"].get("traffic") or {}
        if deployment and traffic.get(deployment):
            raise Refusal(
                400, "UserError", f"Deployment {deployment} has {traffic[deployment]}% of traffic."
            )

        def finish() -> None:
            self.forget(short_id)
            self.resources.pop(short_id.lower(), None)

        return self.operations.begin_located(Answer(202), finish)

    def _long_running(self, resource: dict[str, Any], status: int) -> Answer:
        resource["properties"]["provisioningState"] = "Creating"
        shown = json.loads(json.dumps(resource))

        def finish() -> str:
            fails = resource["name"] in self.failing
            resource["properties"]["provisioningState"] = "Failed" if fails else "Succeeded"
            return "User container has crashed or terminated." if fails else ""

        return self.operations.begin(Answer(status, shown), finish)

    def _pending_upload(self) -> Answer:
        # Each upload gets a container of its own, so that no two can mix.
        container = str(uuid.uuid4())
        self.storage.service.create_container(container)
        return self._upload_reference(container)

    def _upload_reference(self, container: str, write: bool = True) -> Answer:
        address = f"https://{HOST}/{container}"
        return Answer(
            200,
            {
                "pendingUploadId": str(uuid.uuid4()),
                "pendingUploadType": "TemporaryBlobReference",
                "blobReferenceForConsumption": {
                    "blobUri": address,
                    "storageAccountArmId": f"{self.group_id}/providers/Microsoft.Storage/"
                    f"storageAccounts/{ACCOUNT}",
                    "credential": {
                        "credentialType": "SAS",
                        "sasUri": f"{address}?{self.storage.sas(container, write)}",
                    },
                },
            },
        )

    def _cancel(self, name: str) -> Answer:
        job = self.get(f"jobs/{name}")
        if job["properties"]["status"] in FINAL:
            return Answer(200)
        job["properties"]["status"] = "CancelRequested"

        def finish() -> None:
            job["properties"]["status"] = "Canceled"

        return self.operations.begin_located(Answer(202), finish)

    def _trigger(self, name: str, body: Mapping[str, Any]) -> Answer:
        text = body.get("scheduleTime")
        when = datetime.fromisoformat(text).replace(tzinfo=UTC) if text else datetime.now(UTC)
        return Answer(
            200, {"submissionId": self.fire(name, when), "scheduleActionType": "CreateJob"}
        )

    def fire(self, name: str, when: datetime) -> str:
        """Make the job of a schedule, as at a time; its name.

        Raises:
            Refusal: There is no such schedule, or its job cannot be made any more.
        """
        definition = json.loads(
            json.dumps(self.get(f"schedules/{name}")["properties"]["action"]["jobDefinition"])
        )
        for given in (definition.get("inputs") or {}).values():
            if given.get("value") == TRIGGER_TIME:
                given["value"] = when.isoformat()
        job = f"{name}-{when:%Y%m%dT%H%M%SZ}"
        with self.lock:
            self.fired[job] = name
            self._put(f"jobs/{job}", {"properties": definition})
            self.get(f"jobs/{job}")["systemData"]["createdAt"] = when.isoformat()
        return job


FINAL = {"Completed", "Failed", "Canceled"}


def _system_data(person: str) -> dict[str, str]:
    now = datetime.now(UTC).isoformat()
    name, kind = (person, "User") if person else ("tests", "Application")
    who = {"createdBy": name, "createdByType": kind, "createdAt": now}
    return {**who, "lastModifiedBy": name, "lastModifiedAt": now}


def _complete(workspace_id: str, collection: str, resource: dict[str, Any]) -> None:
    """Add what Azure adds to a resource and the SDK then reads."""
    properties = resource["properties"]
    if "SystemAssigned" in str((resource.get("identity") or {}).get("type")):
        resource["identity"] |= {"principalId": identity_of(resource["id"]), "tenantId": TENANT}
    if collection == "jobs":
        properties.setdefault("status", "NotStarted")
        properties.setdefault("tags", {})
        properties.setdefault("properties", {})
        studio = f"https://ml.azure.com/runs/{resource['name']}?wsid={workspace_id}"
        tracking = f"azureml://{REGION}.api.azureml.ms/mlflow/v1.0{workspace_id}?"
        properties["services"] = (properties.get("services") or {}) | {
            "Studio": {"jobServiceType": "Studio", "endpoint": studio},
            "Tracking": {"jobServiceType": "Tracking", "endpoint": tracking},
        }
        outputs = properties.get("outputs") or {}
        location = (
            f"azureml://datastores/workspaceartifactstore/ExperimentRun/dcid.{resource['name']}"
        )
        outputs.setdefault(
            "default",
            {"jobOutputType": "uri_folder", "uri": location, "mode": "ReadWriteMount"},
        )
        properties["outputs"] = outputs
    if collection == "schedules":
        properties.setdefault("isEnabled", True)
    if collection in ENDPOINTS:
        _complete_served(resource)
    if collection == "models":
        properties.setdefault("flavors", {})
    if collection == "environments":
        properties.setdefault("environmentType", "UserCreated")
    if collection in VERSIONED:
        properties.setdefault("tags", {})
        properties.setdefault("properties", {})
        properties.setdefault("isArchived", False)


def _complete_served(resource: dict[str, Any]) -> None:
    """Add what Azure adds to an endpoint or a deployment."""
    properties, name = resource["properties"], resource["name"]
    for key in ("properties", "tags"):
        place = resource if key == "tags" else properties
        place[key] = place.get(key) or {}
    if resource["type"].endswith("onlineEndpoints"):
        for key in ("traffic", "mirrorTraffic"):
            properties[key] = properties.get(key) or {}
        properties["scoringUri"] = f"https://{name}.{REGION}.inference.ml.azure.com/score"
        properties["swaggerUri"] = f"https://{name}.{REGION}.inference.ml.azure.com/swagger.json"
    elif resource["type"].endswith("batchEndpoints"):
        properties["scoringUri"] = f"https://{name}.{REGION}.inference.ml.azure.com/jobs"
    elif resource["type"].endswith("onlineEndpoints/deployments"):
        properties.setdefault("scaleSettings", {"scaleType": "Default"})


def _content(resource: Mapping[str, Any]) -> Any:
    """What of an asset's version may never change."""
    properties = resource["properties"]
    kept = {key: value for key, value in properties.items() if key not in _MUTABLE}
    return json.loads(json.dumps(kept))


def _check_unchanged(collection: str, known: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    new, old = _content(body), _content(known)
    changed = sorted(key for key, value in new.items() if old.get(key) != value)
    if not changed:
        return
    if collection in ("codes", "data", "models"):
        # The words by which the SDK knows it.
        raise Refusal(400, "UserError", "Asset paths cannot be updated.")
    raise Refusal(
        409,
        "UserError",
        f"{known['id'].partition('/workspaces/')[2]} exists with another {', '.join(changed)}; "
        "versions are immutable.",
    )


def _datastore(name: str, container: str) -> dict[str, Any]:
    return {
        "properties": {
            "datastoreType": "AzureBlob",
            "accountName": ACCOUNT,
            "containerName": container,
            "endpoint": "core.windows.net",
            "protocol": "https",
            "credentials": {
                "credentialsType": "AccountKey",
                "secrets": {"secretsType": "AccountKey"},
            },
            "serviceDataAccessAuthIdentity": "None",
            "isDefault": name == "workspaceblobstore",
            "tags": {},
            "properties": {},
        }
    }
