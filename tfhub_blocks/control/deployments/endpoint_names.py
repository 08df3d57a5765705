"""Names of endpoints, which must be unique in a region of Azure."""

import hashlib
import re

from tfhub_blocks.control.workspace.connection import Connection
from tfhub_blocks.records.base.errors import BlocksError

_NAME = re.compile(r"[a-zA-Z](?:[a-zA-Z0-9]|-(?=[a-zA-Z0-9])){2,31}")
_SUFFIX_DIGITS = 6
_LONGEST = 32


def endpoint_name(given: str | None, what: str, connection: Connection, where: str) -> str:
    """Return the passed name, or a name derived from the deployed item and the workspace.

    The derived name is the same in the same workspace, so that a repeated command finds the
    endpoint that it created.

    Raises:
        BlocksError: The passed name is not valid for an endpoint.
    """
    if given is not None:
        if not _NAME.fullmatch(given):
            raise BlocksError(
                where,
                f"--name {given}",
                f"{given!r} is not a valid name of an endpoint",
                "3 to 32 letters, digits and single hyphens, beginning with a letter",
                "Pass such a name with --name, or leave out --name for a derived name",
            )
        return given
    client = connection.client
    place = f"{client.subscription_id}/{client.resource_group_name}/{connection.name}/{what}"
    suffix = hashlib.sha256(place.encode()).hexdigest()[:_SUFFIX_DIGITS]
    stem = re.sub(r"[^a-z0-9]+", "-", what.lower()).strip("-")
    stem = stem if stem[:1].isalpha() else f"e-{stem}"
    return f"{stem[: _LONGEST - _SUFFIX_DIGITS - 1].rstrip('-')}-{suffix}"
