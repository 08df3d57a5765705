"""The owners of named things in a workspace: nobody changes or uses what another owner has."""

# decision 63

from collections.abc import Iterable, Mapping
from typing import Any

from tfhub_blocks.control.project.profiles import Profile
from tfhub_blocks.control.workspace.azure_errors import find
from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError

OWNER_TAGS = ("owner", "tfhub_blocks.owner")


def owner_in(profile: Profile) -> str:
    """Return the owner that a profile names; empty for a local profile or an unset variable."""
    owner = profile.job.owner.strip() if profile.job else ""
    return "" if "$" in owner else owner


def owner_of(tags: Mapping[str, Any] | None) -> str:
    """Return the owner in the tags of a thing, or an empty text."""
    return next((str(tags[tag]) for tag in OWNER_TAGS if tags and tags.get(tag)), "")


def check_owner(where: str, what: str, found: Any, owner: str) -> None:
    """Check that a named thing in a workspace does not belong to another owner.

    A thing without an owner tag, and a thing that does not exist, belong to nobody.

    Args:
        where: The command, for the error.
        what: The thing, as kind and name.
        found: The SDK's object with its tags, or None.
        owner: The owner of the profile or of the request.

    Raises:
        BlocksError: The thing belongs to another owner.
    """
    actual = owner_of(getattr(found, "tags", None))
    if actual and owner and actual != owner:
        raise BlocksError(
            where,
            what,
            f"{what} belongs to owner {actual}, and this request is of owner {owner}",
            f"a name that {owner} owns, or a new name",
            f"Use another name, such as one that begins with name_prefix of the profile, or agree"
            f" with {actual} on one owner",
        )


def check_asset_owner(connection: Connection, where: str, kind: str, name: str, owner: str) -> None:
    """Check that no version of a data or model asset belongs to another owner.

    Raises:
        BlocksError: A version belongs to another owner, or Azure did not answer.
    """
    client = connection.client
    operations = client.models if kind == "model" else client.data

    def versions(asset: str) -> Iterable[Any]:
        # A plain text: for data in a registry, the SDK sends the name of its enum's member.
        return list(operations.list(asset, list_view_type="ActiveOnly"))

    for version in find(where, f"{kind} {name}", versions, name) or ():
        check_owner(where, f"{kind} {name}", version, owner)
