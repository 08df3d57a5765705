"""A key in Azure Key Vault that signs there: it is never here, its public half is."""

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from tfhub_blocks.records.base.errors import BlocksError

SCHEME = "azurekeyvault://"
DOMAIN = "vault.azure.net"
_ADDRESS = re.compile(rf"{SCHEME}([A-Za-z0-9.-]+)/([A-Za-z0-9-]+)(?:/([0-9a-fA-F]+))?")
_FORM = f"{SCHEME}VAULT/KEY[/VERSION] of a key of ECDSA on P-256"
_LONGEST_TOLD = 300


@dataclass(frozen=True)
class VaultSigner:
    """Signs with one version of a key in a vault; ``client`` is the SDK's for that version."""

    address: str
    client: Any
    public: ec.EllipticCurvePublicKey

    def sign(self, content: bytes) -> bytes:
        """The signature of a content, by ECDSA with SHA-256 in DER; only the digest is sent.

        Raises:
            BlocksError: The vault refused, could not be asked, or gave what is no signature of it.
        """
        from azure.keyvault.keys.crypto import SignatureAlgorithm

        with _told(self.address):
            digest = hashlib.sha256(content).digest()
            found = self.client.sign(SignatureAlgorithm.es256, digest).signature
        # The vault gives both numbers one after the other.
        half = len(found) // 2
        numbers = (int.from_bytes(found[:half]), int.from_bytes(found[half:]))
        signature = encode_dss_signature(*numbers)
        try:
            self.public.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise _refused(
                self.address,
                "what the vault gave is no signature by its own public key",
                "a signature of that key",
                "see which key the vault has under this name",
            ) from error
        return signature


def open_key(address: str) -> VaultSigner:
    """What signs with a key in a vault: the version that is named, or else the newest.

    The login is the one that azure-identity finds, as for all else on Azure.

    Args:
        address: ``azurekeyvault://VAULT/KEY[/VERSION]``; VAULT is a name, or a host with dots.

    Raises:
        BlocksError: There is no such key, it is of another kind, or this login may not use it.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise _refused(address, "this is no address of a key", _FORM, "correct it")
    try:
        from azure.identity import DefaultAzureCredential
        from azure.keyvault.keys import KeyClient
        from azure.keyvault.keys.crypto import CryptographyClient
    except ImportError as error:
        raise _refused(
            address,
            f"the client of Azure Key Vault is not installed ({error})",
            "the package azure-keyvault-keys",
            "pip install azure-keyvault-keys",
        ) from error
    # A line for each kind of login that is not there; the error says it once.
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
    vault, name, version = match.groups()
    host = vault if "." in vault else f"{vault}.{DOMAIN}"
    credential = DefaultAzureCredential()
    with _told(address):
        key = KeyClient(f"https://{host}", credential).get_key(name, version)
        client = CryptographyClient(key, credential)
    return VaultSigner(address, client, _public(address, key))


def _public(address: str, key: Any) -> ec.EllipticCurvePublicKey:
    parts = key.key
    # Enumerations for what the client knows, texts for the rest.
    kind, curve = (getattr(it, "value", it) or "" for it in (parts.kty, parts.crv))
    if key.properties.enabled is False:
        raise _refused(address, "the key is disabled", "a key that may be used", "enable it")
    if curve != "P-256":
        raise _refused(
            address,
            f"the key is of type {kind} {curve}".rstrip(),
            _FORM,
            "make one: az keyvault key create --kty EC --curve P-256",
        )
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(parts.x), int.from_bytes(parts.y), ec.SECP256R1()
    )
    return numbers.public_key()


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Tell in one line what the vault refuses."""
    from azure.core.exceptions import (
        AzureError,
        ClientAuthenticationError,
        HttpResponseError,
        ResourceNotFoundError,
    )

    try:
        yield
    except ClientAuthenticationError as error:
        raise _refused(
            address, f"no login was accepted ({_short(error)})", "a login for the vault", "az login"
        ) from error
    except ResourceNotFoundError as error:
        raise _refused(
            address,
            f"the vault has no such key ({_short(error)})",
            "one that `az keyvault key list --vault-name VAULT` shows",
            "correct the name or the version",
        ) from error
    except HttpResponseError as error:
        raise _refused(
            address,
            f"the vault refused it ({_short(error)})",
            "a login with the role Key Vault Crypto User, and a key that may sign",
            "ask who owns the vault",
        ) from error
    except (AzureError, ValueError) as error:
        raise _refused(
            address,
            f"it could not be used ({_short(error)})",
            "a vault that answers, and a key within its dates",
            "check its name, its key and the network, and try again",
        ) from error


def _short(error: Exception) -> str:
    """The first line, for the client says all of it twice."""
    told = str(getattr(error, "message", None) or error).strip().partition("\n")[0]
    return told[:_LONGEST_TOLD]


def _refused(address: str, problem: str, expected: str, remedy: str) -> BlocksError:
    return BlocksError("key", address, problem, expected, remedy)
