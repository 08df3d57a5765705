"""Azure's built-in roles, the actions that they permit, and the actions that commands need.

The roles are those of learn.microsoft.com/azure/role-based-access-control/built-in-roles.
"""

# decision 86

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

SERVICE = "Microsoft.MachineLearningServices"
WORKSPACES = f"{SERVICE}/workspaces"
_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs"
READ_BLOBS = (f"{_BLOBS}/read",)
WRITE_BLOBS = (f"{_BLOBS}/read", f"{_BLOBS}/write", f"{_BLOBS}/delete")
PULL_IMAGES = ("Microsoft.ContainerRegistry/registries/pull/read",)
PUSH_IMAGES = (*PULL_IMAGES, "Microsoft.ContainerRegistry/registries/push/write")
READ_SECRETS = ("Microsoft.KeyVault/vaults/secrets/getSecret/action",)
SIGN = ("Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/sign/action")


@dataclass(frozen=True)
class Role:
    """A built-in role of Azure."""

    name: str
    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()

    @property
    def permissions(self) -> list[dict[str, Any]]:
        """The role's permissions, in the form of Azure's answers."""
        return [
            {
                "actions": list(self.actions),
                "notActions": list(self.not_actions),
                "dataActions": list(self.data_actions),
                "notDataActions": [],
            }
        ]


# The role that permits the least comes first.
ROLES = (
    Role("Storage Blob Data Reader", data_actions=READ_BLOBS),
    Role(
        "Storage Blob Data Contributor",
        data_actions=(*WRITE_BLOBS, f"{_BLOBS}/move/action", f"{_BLOBS}/add/action"),
    ),
    Role("AcrPull", PULL_IMAGES),
    Role("AcrPush", PUSH_IMAGES),
    Role("Key Vault Secrets User", data_actions=READ_SECRETS),
    Role("Key Vault Crypto User", data_actions=SIGN),
    Role("AzureML Compute Operator", (f"{WORKSPACES}/computes/*",)),
    Role(
        "AzureML Data Scientist",
        tuple(f"{WORKSPACES}/*/{verb}" for verb in ("read", "action", "delete", "write")),
        (
            *(f"{WORKSPACES}/{verb}" for verb in ("delete", "write", "listKeys/action")),
            *(f"{WORKSPACES}/computes/*/{verb}" for verb in ("write", "delete")),
            f"{WORKSPACES}/computes/listKeys/action",
        ),
    ),
    Role(
        "AzureML Registry User", tuple(f"{SERVICE}/registries/{it}" for it in ("read", "assets/*"))
    ),
    Role("Reader", ("*/read",)),
    Role(
        "Contributor",
        ("*",),
        tuple(f"Microsoft.Authorization/*/{verb}" for verb in ("Delete", "Write")),
    ),
)


@dataclass(frozen=True)
class AzureNeeds:
    """The actions of Azure that a command needs; each command module declares its own.

    ``actions`` are below ``Microsoft.MachineLearningServices/workspaces/``. ``blobs`` is the access
    to the workspace's storage account, for workspaces whose datastores have no keys.
    """

    command: str
    actions: tuple[str, ...]
    blobs: Literal["", "read", "write"] = ""

    @property
    def full_actions(self) -> tuple[str, ...]:
        """The actions with their provider."""
        return tuple(f"{WORKSPACES}/{action}" for action in self.actions)

    @property
    def blob_actions(self) -> tuple[str, ...]:
        """The data actions on the storage account."""
        return {"": (), "read": READ_BLOBS, "write": WRITE_BLOBS}[self.blobs]


def permits(permissions: Iterable[Mapping[str, Any]], action: str, is_data: bool = False) -> bool:
    """Return True if permissions, in the form of Azure's answers, permit an action.

    Each permission permits its actions without its own exceptions; a second permission may permit
    what the first one excepts.
    """
    yes, no = ("dataActions", "notDataActions") if is_data else ("actions", "notActions")
    return any(
        any(_matches(it, action) for it in permission.get(yes) or ())
        and not any(_matches(it, action) for it in permission.get(no) or ())
        for permission in permissions
    )


@cache
def _matches(pattern: str, action: str) -> bool:
    # Azure ignores case. "computes/*/write" also means "computes/write": Microsoft's role AzureML
    # Data Scientist excepts the first to forbid the second.
    text = re.escape(pattern).replace(r"/\*/", "/(?:.*/)?").replace(r"\*", ".*")
    return re.fullmatch(text, action, re.I) is not None


def missing_actions(
    permissions: Iterable[Mapping[str, Any]], actions: Iterable[str], is_data: bool = False
) -> list[str]:
    """Return the actions that permissions do not permit."""
    known = list(permissions)
    return [action for action in actions if not permits(known, action, is_data)]


def role_for(actions: Iterable[str], is_data: bool = False) -> str:
    """Return the first role of the table that permits all actions, or an empty text."""
    wanted = list(actions)
    return next(
        (role.name for role in ROLES if not missing_actions(role.permissions, wanted, is_data)), ""
    )


def roles_for(actions: Iterable[str], is_data: bool = False) -> list[str]:
    """Return the few roles that together permit all actions that any role of the table permits."""
    wanted = list(actions)
    if not wanted:
        return []
    if (whole := role_for(wanted, is_data)) and whole != "Contributor":
        return [whole]
    # One action after the other, so that no role permits more than it has to.
    found = dict.fromkeys(role_for([action], is_data) for action in wanted)
    return [name for name in found if name]


def grant_command(role: str, assignee: str, scope: str) -> str:
    """Return the command that grants a role to a user, an application or an identity."""
    return f'az role assignment create --role "{role}" --assignee {assignee} --scope {scope}'
