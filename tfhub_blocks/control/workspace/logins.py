"""The identity of the current Azure login, read from the token that its requests carry."""

import base64
import binascii
import json
from dataclasses import dataclass, field

from tfhub_blocks.control.workspace.azure_errors import told
from tfhub_blocks.control.workspace.connection import Connection

_SCOPE = "https://management.azure.com/.default"
_OF_PERSONS = ("upn", "preferred_username", "unique_name", "email", "name")
_OF_ALL = ("appid", "oid")


@dataclass(frozen=True)
class Login:
    """The names of a login; ``is_person`` is False for an application or a managed identity.

    ``tenant`` and ``object_id`` are empty if the token does not contain them.
    """

    names: tuple[str, ...]
    is_person: bool
    tenant: str = field(default="", compare=False)
    object_id: str = field(default="", compare=False)


def find_login(connection: Connection, where: str) -> Login:
    """Return the login that a connection uses for its requests.

    The token is decoded but not verified: the service that receives it verifies it.

    Raises:
        BlocksError: No login was found.
    """
    with told(where, str(connection)):
        token = connection.credential.get_token(_SCOPE).token
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        texts = {name: str(claims[name]) for name in (*_OF_PERSONS, *_OF_ALL) if claims.get(name)}
        tenant, object_id = (str(claims.get(name) or "") for name in ("tid", "oid"))
    except (IndexError, ValueError, TypeError, AttributeError, binascii.Error):
        return Login((), False)
    is_person = any(name in texts for name in _OF_PERSONS[:4])
    return Login(tuple(dict.fromkeys(texts.values())), is_person, tenant, object_id)
