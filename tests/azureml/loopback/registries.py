"""Registries: assets that several workspaces share, behind the hosts that the SDK finds them by."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from loopback.identity import TENANT
from loopback.requests import Request
from loopback.resources import GROUP, REGION, Answer, Refusal, Workspace

# Where the primary region of a registry is served, and below which path.
REGISTRY_HOST = f"cert-{REGION}.experiments.azureml.net"
PATH_PREFIX = "/mferp/managementfrontend"
_DISCOVERY = re.compile(r"/registrymanagement/v1\.0/registries/([\w-]+)/discovery")
_REFERENCE = re.compile(r".*/(tempdatarefs|datarefs)/[^/]+/versions/[^/]+")


@dataclass
class Registry(Workspace):
    """One registry: like a workspace, but with no more than versions of assets."""

    name: str = ""

    def __post_init__(self) -> None:
        """No datastores: a registry has storage of its own."""

    @property
    def id(self) -> str:
        """The registry's id for Resource Manager."""
        return f"{self.group_id}/providers/Microsoft.MachineLearningServices/registries/{self.name}"

    @property
    def asset_root(self) -> str:
        """What the ids of its assets begin with."""
        return f"azureml://registries/{self.name}"

    def _put(self, short_id: str, body: dict[str, Any]) -> Answer:
        # A registry copies what it is given to all its regions.
        return self.operations.begin(super()._put(short_id, body))

    def _list(self, tail: list[str], query: Mapping[str, str]) -> Answer:
        # Of a name that is not there it has no versions; the SDK takes no 404 from a registry.
        if len(tail) == 3 and not self.versions(*tail[:2]):
            return Answer(200, {"value": []})
        return super()._list(tail, query)

    def discovery(self) -> Answer:
        """Where it is."""
        return Answer(
            200,
            {
                "registryName": self.name,
                "tenantId": TENANT,
                "primaryRegion": REGION,
                "regions": [REGION],
                "subscriptionId": self.subscription,
                "resourceGroup": GROUP,
                "primaryRegionResourceProviderUri": f"https://{REGISTRY_HOST}/",
            },
        )

    def reference(self, kind: str, body: Mapping[str, Any]) -> Answer:
        """A signed address: of a new container for an asset, or of where an asset's files are.

        Raises:
            Refusal: The asset is there already, or it is not there.
        """
        known = self.find_by_id(body["assetId"])
        if kind == "tempdatarefs":
            if known is not None:
                raise Refusal(409, "UserError", f"{body['assetId']} already exists")
            return self._pending_upload()
        if known is None:
            raise Refusal(404, "NotFound", f"there is no {body['assetId']}")
        container = urlsplit(body["blobUri"]).path.split("/")[1]
        return self._upload_reference(container, write=False)


def answer(workspace: Workspace, request: Request, body: Any) -> Answer | None:
    """The answer to what no OpenAPI file describes of registries; None if this is none of it."""
    if match := _DISCOVERY.fullmatch(request.path):
        found = workspace.registries.get(match[1])
        if found is None:
            raise Refusal(404, "RegistryNotFound", f"there is no registry {match[1]}")
        return found.discovery()
    if match := _REFERENCE.fullmatch(request.path):
        for registry in workspace.registries.values():
            if f"{registry.id}/".lower() in request.path.lower():
                return registry.reference(match[1], body)
    return None


def add_registry(workspace: Workspace, name: str) -> Registry:
    """A new, empty registry that a workspace's jobs may take assets from."""
    made = Registry(
        workspace.storage,
        workspace.check,
        subscription=str(uuid.uuid4()),
        operations=workspace.operations,
        registries=workspace.registries,
        name=name,
    )
    workspace.registries[name] = made
    return made
