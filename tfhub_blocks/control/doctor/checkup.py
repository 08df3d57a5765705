"""The rows of a checkup, and the facts of a workspace that several checks need."""

# decision 86

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal

from tfhub_blocks.control.project.profiles import SERVERLESS, Profile
from tfhub_blocks.control.workspace.azure_errors import find, told
from tfhub_blocks.control.workspace.azure_roles import AzureNeeds
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.control.workspace.logins import Login, find_login
from tfhub_blocks.control.workspace.management_api import ManagementApi
from tfhub_blocks.records.base.errors import BlocksError

WHERE = "doctor"
WORKSPACE_API = "2024-04-01"
State = Literal["ok", "missing", "unknown"]
OK: Final = "ok"
MISSING: Final = "missing"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True)
class Row:
    """One line of the table: what was checked, found and needed, and the command that fixes it.

    ``unknown`` is a check that Azure or the network refused to answer; its ``fix`` permits it.
    """

    check: str
    item: str
    found: str
    needed: str
    state: State
    fix: str = ""


@dataclass(frozen=True)
class Subject:
    """A workspace and a profile that are checked together. Each fact is read once."""

    connection: Connection
    profile: Profile
    needs: tuple[AzureNeeds, ...] = ()

    @property
    def client(self) -> Any:
        """The SDK's client."""
        return self.connection.client

    @cached_property
    def api(self) -> ManagementApi:
        """Reads of Resource Manager."""
        return ManagementApi.of(self.connection)

    @cached_property
    def login(self) -> Login:
        """The login of the requests."""
        return find_login(self.connection, WHERE)

    @property
    def assignee(self) -> str:
        """The login, as ``az role assignment create --assignee`` takes it."""
        return self.login.object_id or "USER"

    @property
    def workspace_id(self) -> str:
        """The id of the workspace."""
        client = self.client
        return (
            f"/subscriptions/{client.subscription_id}/resourceGroups/{client.resource_group_name}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.connection.name}"
        )

    @cached_property
    def workspace(self) -> Mapping[str, Any]:
        """The workspace, as Resource Manager describes it.

        Raises:
            BlocksError: Azure refused the request.
        """
        return self.read(self.workspace_id, WORKSPACE_API, f"workspace {self.connection.name}")

    @property
    def properties(self) -> Mapping[str, Any]:
        """The properties of the workspace."""
        found: Mapping[str, Any] = self.workspace["properties"]
        return found

    @property
    def location(self) -> str:
        """The region of the workspace."""
        return str(self.workspace["location"])

    @cached_property
    def storage(self) -> Mapping[str, Any]:
        """The workspace's storage account.

        Raises:
            BlocksError: Azure refused the request.
        """
        return self.read(str(self.properties["storageAccount"]), "2023-01-01", "storage account")

    @cached_property
    def registry(self) -> Mapping[str, Any] | None:
        """The workspace's container registry; None before Azure has built the first image.

        Raises:
            BlocksError: Azure refused the request.
        """
        found = self.properties.get("containerRegistry")
        return self.read(str(found), "2023-07-01", "container registry") if found else None

    @cached_property
    def vault(self) -> Mapping[str, Any]:
        """The workspace's key vault.

        Raises:
            BlocksError: Azure refused the request.
        """
        return self.read(str(self.properties["keyVault"]), "2023-07-01", "key vault")

    @cached_property
    def has_keys(self) -> bool:
        """True if every datastore of blobs has a key or a signature.

        Raises:
            BlocksError: Azure refused the request.
        """
        return all(kind != "None" for _, kind in self.datastores)

    @cached_property
    def datastores(self) -> list[tuple[str, str]]:
        """The datastores of blobs: name, and the type of credentials in Azure's words.

        Raises:
            BlocksError: Azure refused the request.
        """
        found = self.items(f"{self.workspace_id}/datastores", WORKSPACE_API, "datastores")
        return [
            (str(it["name"]), str(it["properties"]["credentials"]["credentialsType"]))
            for it in found
            if it["properties"]["datastoreType"] == "AzureBlob"
        ]

    @cached_property
    def clusters(self) -> dict[str, Any]:
        """The clusters of the profile by name, as the SDK returns them; None for a missing one.

        Raises:
            BlocksError: Azure refused the request.
        """
        get = self.client.compute.get
        return {name: find(WHERE, f"cluster {name}", get, name) for name in self.profile.clusters}

    @property
    def machines(self) -> list[tuple[str, str, int, bool]]:
        """Each machine of the profile: its key, size, largest number of nodes, low priority."""
        profile = self.profile
        found = [
            (f"clusters.{name}", it.size, it.max_nodes, it.low_priority)
            for name, it in profile.clusters.items()
        ]
        spot = profile.job is not None and profile.job.tier == "spot"
        return found + [
            (f"roles.{name}", role.size, role.instance_count, spot)
            for name, role in profile.roles.items()
            if role.compute == SERVERLESS and role.size
        ]

    def read(self, path: str, version: str, what: str) -> Mapping[str, Any]:
        """Return a resource of Resource Manager.

        Raises:
            BlocksError: Azure refused the request.
        """
        with told(WHERE, what):
            return self.api.get(path, version)

    def items(self, path: str, version: str, what: str, **query: str) -> list[Mapping[str, Any]]:
        """Return a list of Resource Manager.

        Raises:
            BlocksError: Azure refused the request.
        """
        with told(WHERE, what):
            return list(self.api.items(path, version, **query))


Check = Callable[[Subject], Iterable[Row]]


def checkup(subject: Subject, checks: Mapping[str, Check]) -> Iterator[Row]:
    """Yield the rows of each check. A check that Azure refuses is one row, and the others go on.

    Without the workspace itself, its own rows are the only ones.
    """
    for name, check in checks.items():
        try:
            yield from check(subject)
        except BlocksError as error:
            yield Row(name, error.what, error.problem, error.expected, UNKNOWN, command_in(error))
            if "workspace" not in subject.__dict__:
                return


def command_in(error: BlocksError) -> str:
    """Return the commands in an error's remedy; without any, the whole remedy."""
    return " ; ".join(re.findall(r"`([^`]+)`", error.remedy)) or error.remedy
