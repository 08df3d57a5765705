"""What lies beside a workspace in Azure: roles, storage account, registry, vault, sizes, quota.

Shapes are those of Microsoft's REST reference, by api-version: authorization 2022-04-01, storage
2023-01-01, containerregistry 2023-07-01, keyvault 2023-07-01; sizes and usages are in the contract.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from loopback.answers import Answer, Refusal
from loopback.identity import OBJECT, TENANT
from loopback.requests import Request

if TYPE_CHECKING:
    from loopback.resources import Workspace

PRICES = "prices.azure.com"
# Those of base images, and of the toy's.
PUBLIC_HOSTS = (PRICES, "mcr.microsoft.com", "example.org")
# Below it each online endpoint has a host of its own.
SCORING = ".inference.ml.azure.com"
_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
_EVERYTHING = {"actions": ["*"], "notActions": [], "dataActions": ["*"], "notDataActions": []}
_VERSIONS = {
    "Microsoft.Authorization": "2022-04-01",
    "Microsoft.Storage": "2023-01-01",
    "Microsoft.ContainerRegistry": "2023-07-01",
    "Microsoft.KeyVault": "2023-07-01",
}
# Some of Azure's, with the GUIDs that Azure has given them.
ROLES = {
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "AcrPush": "8311e382-0749-4cb8-b61a-304f252e45ec",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
}
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
_PERMISSIONS: Mapping[str, dict[str, list[str]]] = {
    "Storage Blob Data Contributor": {
        "dataActions": [f"{_BLOBS}/{verb}" for verb in ("read", "write", "delete", "add/action")]
    },
    "Storage Blob Data Reader": {"dataActions": [f"{_BLOBS}/read"]},
    "AcrPull": {"actions": ["Microsoft.ContainerRegistry/registries/pull/read"]},
    "AcrPush": {
        "actions": [
            f"Microsoft.ContainerRegistry/registries/{it}" for it in ("pull/read", "push/write")
        ]
    },
    "Key Vault Secrets User": {
        "dataActions": [f"Microsoft.KeyVault/vaults/secrets/{it}" for it in ("getSecret/action",)]
    },
}


def identity_of(resource_id: str) -> str:
    """The object id of a resource's own identity."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, resource_id.lower()))


def size(name: str, family: str, cpus: int, kinds: str = "AmlCompute ComputeInstance MIR") -> Any:
    """A machine size as Azure lists it; ``MIR`` are managed online endpoints."""
    return {
        "name": name,
        "family": family,
        "vCPUs": cpus,
        "gpus": int("NC" in name),
        "osVhdSizeMB": 1047552,
        "maxResourceVolumeMB": 28672,
        "memoryGB": 14.0,
        "lowPriorityCapable": True,
        "premiumIO": True,
        "supportedComputeTypes": kinds.split(),
    }


def usage(kind: str, name: str, limit: int) -> Any:
    """A quota with nothing of it in use."""
    return {
        "id": f"/subscriptions/loopback/usages/{name.replace(' ', '_')}",
        "type": f"Microsoft.MachineLearningServices/{kind}/usages",
        "currentValue": 0,
        "limit": limit,
        "name": {"value": name, "localizedValue": name},
        "unit": "Count",
    }


def _sizes() -> list[Any]:
    return [
        size("Standard_DS3_v2", "standardDSv2Family", 4),
        size("Standard_NC4as_T4_v3", "standardNCASv3T4Family", 4),
        size("Standard_D4ds_v5", "standardDDSv5Family", 4, "AmlCompute ComputeInstance"),
    ]


def _usages() -> list[Any]:
    return [
        usage("totalCores", "Clusters", 100),
        usage("dedicatedCores", "Total Cluster Dedicated Regional vCPUs", 100),
        usage("vmFamily", "Standard DSv2 Family Cluster Dedicated vCPUs", 24),
        usage("vmFamily", "Standard NCASv3_T4 Family Cluster Dedicated vCPUs", 24),
        usage("lowPriorityCores", "Total Cluster LowPriority Regional vCPUs", 50),
        usage("vmFamily", "Standard DSv2 Family Cluster LowPriority vCPUs", -1),
        usage("vmFamily", "Standard NCASv3_T4 Family Cluster LowPriority vCPUs", -1),
    ]


@dataclass
class Surroundings:
    """What a test may take away. ``roles`` are those of identities, by object id."""

    permissions: list[dict[str, Any]] = field(default_factory=lambda: [dict(_EVERYTHING)])
    roles: dict[str, list[str]] = field(default_factory=dict)
    storage: dict[str, Any] = field(default_factory=lambda: {"publicNetworkAccess": "Enabled"})
    # None before the first image.
    registry: dict[str, Any] | None = None
    vault: dict[str, Any] = field(
        default_factory=lambda: {
            "tenantId": TENANT,
            "sku": {"family": "A", "name": "standard"},
            "vaultUri": "https://loopback.vault.azure.net/",
            "enableRbacAuthorization": True,
        }
    )
    sizes: list[Any] = field(default_factory=_sizes)
    usages: list[Any] = field(default_factory=_usages)
    # By size; what is not here has no meter.
    prices: dict[str, float] = field(
        default_factory=lambda: {"Standard_DS3_v2": 0.3, "Standard_NC4as_T4_v3": 0.6}
    )
    # The digest of each image by its name and tag, and of all others.
    images: dict[str, str] = field(default_factory=dict)
    # What the command that runs has declared, below the workspace; None while none runs.
    declared: set[str] | None = None
    undeclared: list[str] = field(default_factory=list)
    # What answers the requests of a deployment, by its name: status and JSON.
    serving: dict[str, Callable[[bytes], tuple[int, Any]]] = field(default_factory=dict)
    # The deployments that were asked, in their order; mirrored requests with a star.
    served: list[str] = field(default_factory=list)

    def grant_all(self, *identities: str) -> None:
        """Give identities all roles that are known here."""
        for identity in (OBJECT, *identities):
            self.roles[identity] = list(ROLES)

    def refuse_forbidden(self, request: Request) -> None:
        """Refuse what the caller has no permission for.

        Raises:
            Refusal: In Azure's words.
        """
        action = action_of(request.method, request.path)
        if request.host != "management.azure.com" or not action:
            return
        own = action.removeprefix("Microsoft.MachineLearningServices/workspaces/")
        if self.declared is not None and own != action and own not in self.declared:
            self.undeclared.append(own)
        if not any(_permits(it, action) for it in self.permissions):
            raise Refusal(
                403,
                "AuthorizationFailed",
                f"The client 'tests' with object id '{OBJECT}' does not have authorization to "
                f"perform action '{action}' over scope '{request.path}' or the scope is invalid. "
                "If access was recently granted, please refresh your credentials.",
            )


def action_of(method: str, path: str) -> str:
    """The action that a request to Resource Manager is; empty for polls of operations."""
    _, _, tail = path.rpartition("/providers/")
    provider, *rest = tail.split("/")
    if "operation" in tail.lower() or not rest:
        return ""
    return "/".join([provider, *rest[0::2], _VERBS.get(method, "action")])


def _permits(permission: Mapping[str, Any], action: str) -> bool:
    def matched(key: str) -> bool:
        patterns = (re.escape(it).replace(r"\*", ".*") for it in permission.get(key) or ())
        # `a/*/b` is `a/b` as well; see decision 86.
        return any(re.fullmatch(it.replace("/.*/", "/(.*/)?"), action, re.I) for it in patterns)

    return matched("actions") and not matched("notActions")


def answer(workspace: "Workspace", request: Request) -> Answer | None:
    """The answer of another provider than Azure ML; None if the request is for none of them.

    Raises:
        Refusal: There is no such resource, or no such version of the API.
    """
    it, path = workspace.surroundings, request.path
    provider = path.rpartition("/providers/")[2].partition("/")[0]
    if provider not in _VERSIONS or request.method != "GET":
        return None
    if request.api_version != _VERSIONS[provider]:
        raise Refusal(400, "InvalidResourceType", f"no {provider} of {request.api_version}")
    if provider == "Microsoft.Authorization":
        return _authorization(it, path, request.query)
    name = path.rpartition("/")[2]
    properties: dict[str, Any] | None = {
        "Microsoft.Storage": it.storage,
        "Microsoft.ContainerRegistry": it.registry and {"loginServer": "loopback.azurecr.io"},
        "Microsoft.KeyVault": it.vault,
    }[provider]
    if properties is None:
        raise Refusal(404, "ResourceNotFound", f"The Resource '{path}' was not found.")
    if provider == "Microsoft.ContainerRegistry":
        properties = {**properties, **(it.registry or {})}
    return Answer(200, {"id": path, "name": name, "properties": properties})


def location_answer(workspace: "Workspace", path: str) -> Answer | None:
    """The sizes or the quota of a region; None for other paths."""
    from loopback.resources import REGION

    match = re.search(r"/locations/(\w+)/(usages|vmSizes)$", path)
    if match is None:
        return None
    it = workspace.surroundings
    found = it.usages if match[2] == "usages" else it.sizes
    return Answer(200, {"value": found if match[1] == REGION else []})


def _authorization(it: Surroundings, path: str, query: Mapping[str, str]) -> Answer:
    scope, _, tail = path.rpartition("/providers/Microsoft.Authorization/")
    kind, _, name = tail.partition("/")
    if kind == "permissions":
        return Answer(200, {"value": it.permissions})
    if kind == "roleAssignments":
        match = re.fullmatch(r"atScope\(\) and assignedTo\('([\w-]+)'\)", query.get("$filter", ""))
        if match is None:
            raise Refusal(400, "BadRequestFormat", f"no filter {query.get('$filter')!r}")
        found = [_assignment(scope, match[1], role) for role in it.roles.get(match[1], [])]
        return Answer(200, {"value": found})
    for role, guid in ROLES.items():
        if kind == "roleDefinitions" and name == guid:
            permissions = [{key: [] for key in _EVERYTHING} | _PERMISSIONS[role]]
            properties = {"roleName": role, "type": "BuiltInRole", "permissions": permissions}
            return Answer(200, {"id": path, "name": guid, "properties": properties})
    raise Refusal(404, "RoleDefinitionDoesNotExist", f"there is no {path}")


def _assignment(scope: str, principal: str, role: str) -> dict[str, Any]:
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scope}{principal}{role}"))
    return {
        "id": f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}",
        "name": name,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{ROLES[role]}",
            "principalId": principal,
            "principalType": "ServicePrincipal",
            "scope": scope,
        },
    }


def public_answer(workspace: "Workspace", request: Request) -> Answer | None:
    """The answer of the hosts that ask nobody who they are: prices and base images."""
    it = workspace.surroundings
    if request.host == PRICES:
        return Answer(200, {"Items": list(_meters(it.prices, request.query["$filter"]))})
    if match := re.fullmatch(r"/v2/(.+)/manifests/(.+)", request.path):
        digest = it.images.get(f"{match[1]}:{match[2]}", it.images.get("*", ""))
        if digest:
            return Answer(200, None, {"Docker-Content-Digest": digest})
        raise Refusal(404, "MANIFEST_UNKNOWN", "manifest tagged by the name is not found")
    return None


def score(workspace: "Workspace", request: Request, body: bytes) -> Answer | None:
    """The answer of an online endpoint: of what serves the deployment, else the number of items.

    A request goes to the deployment of its header, else to one of those with traffic, by shares.
    The mirrored share of the latter is sent to a second one, whose answer nobody gets.

    Raises:
        Refusal: No deployment of the endpoint has traffic, or that of the header is not there.
    """
    endpoint = workspace.find(f"onlineEndpoints/{request.host.removesuffix(SCORING).split('.')[0]}")
    if request.path != "/score" or endpoint is None:
        return None
    it, properties = workspace.surroundings, endpoint["properties"]
    if named := request.deployment:
        if workspace.find(f"onlineEndpoints/{endpoint['name']}/deployments/{named}") is None:
            raise Refusal(404, "NotFound", f"the endpoint has no deployment {named}")
    else:
        named = _by_share(properties.get("traffic") or {}, len(it.served))
        mirrored = _by_share(properties.get("mirrorTraffic") or {}, len(it.served))
        if not named:
            raise Refusal(404, "NotFound", "no deployment of the endpoint has traffic")
        if mirrored in it.serving:
            it.serving[mirrored](body)
            it.served.append(f"{mirrored}*")
    it.served.append(named)
    if named in it.serving:
        return Answer(*it.serving[named](body))
    return Answer(200, {"items": len(json.loads(body)["inputs"])})


def _by_share(shares: Mapping[str, int], number: int) -> str:
    """The deployment that gets a request of a number; empty if none of them does."""
    place = number * 37 % 100
    for name, share in sorted(shares.items()):
        if place < share:
            return name
        place -= share
    return ""


def _meters(prices: Mapping[str, float], wanted: str) -> Any:
    for name, price in prices.items():
        match = re.search(rf"armRegionName eq '(\w+)' and armSkuName eq '{name}'", wanted)
        for sku in ("", " Low Priority") if match else ():
            yield {
                "currencyCode": "USD",
                "retailPrice": price / 5 if sku else price,
                "armRegionName": match[1] if match else "",
                "effectiveStartDate": "2024-01-01T00:00:00Z",
                "meterName": f"{name}{sku}",
                "skuName": f"{name}{sku}",
                "productName": "Virtual Machines Series",
                "serviceName": "Virtual Machines",
                "unitOfMeasure": "1 Hour",
                "type": "Consumption",
                "armSkuName": name,
            }
