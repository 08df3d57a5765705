"""A private key that stays in Azure Key Vault: the vault signs, and returns the public key."""

# decision 37

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

from tfhub_blocks.control.project.federated_login import find_credential
from tfhub_blocks.records.base.errors import BlocksError

SCHEME = "azurekeyvault://"
DOMAIN = "vault.azure.net"
_ADDRESS = re.compile(rf"{SCHEME}([A-Za-z0-9.-]+)/([A-Za-z0-9-]+)(?:/([0-9a-fA-F]+))?")
_FORM = f"{SCHEME}VAULT/KEY[/VERSION] of a key of ECDSA on P-256"
_LONGEST_MESSAGE = 300


@dataclass(frozen=True)
class VaultSigner:
    """A signer with one version of a key in a vault; ``client`` is the SDK's for that version."""

    address: str
    client: Any
    public: ec.EllipticCurvePublicKey

    def sign(self, content: bytes) -> bytes:
        """Return the signature of a content, by ECDSA with SHA-256 in DER; send only the digest.

        Raises:
            BlocksError: The vault refused, did not answer, or returned an invalid signature.
        """
        from azure.keyvault.keys.crypto import SignatureAlgorithm

        with _azure_errors(self.address):
            digest = hashlib.sha256(content).digest()
            found = self.client.sign(SignatureAlgorithm.es256, digest).signature
        # The vault returns the two numbers one after the other.
        half = len(found) // 2
        numbers = (int.from_bytes(found[:half]), int.from_bytes(found[half:]))
        signature = encode_dss_signature(*numbers)
        try:
            self.public.verify(signature, content, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature as error:
            raise _refused(
                self.address,
                "the vault returned no valid signature of the key's public half",
                "a signature of that key",
                "See in the vault which key has this name, and pass that one's address with --key",
            ) from error
        return signature


def open_key(address: str) -> VaultSigner:
    """Open a key in a vault for signing: the version that is named, or else the newest.

    The login is the one that azure-identity finds, as for everything else on Azure.

    Args:
        address: ``azurekeyvault://VAULT/KEY[/VERSION]``; VAULT is a name, or a host with dots.

    Raises:
        BlocksError: The vault has no such key, or the key is of another kind, or the login may
            not use the key.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise _refused(
            address,
            "the text is not the address of a key in a vault",
            _FORM,
            f"Pass --key {SCHEME}VAULT/KEY, with the names of your vault and key",
        )
    try:
        from azure.keyvault.keys import KeyClient
        from azure.keyvault.keys.crypto import CryptographyClient
    except ImportError as error:
        raise _refused(
            address,
            f"the client of Azure Key Vault is not installed ({error})",
            "the package azure-keyvault-keys",
            "Run `pip install azure-keyvault-keys`",
        ) from error
    # The SDK logs a line for each kind of login that is missing; the error reports them once.
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
    vault, name, version = match.groups()
    host = vault if "." in vault else f"{vault}.{DOMAIN}"
    credential = find_credential()
    with _azure_errors(address):
        key = KeyClient(f"https://{host}", credential).get_key(name, version)
        client = CryptographyClient(key, credential)
    return VaultSigner(address, client, _public(address, key))


def _public(address: str, key: Any) -> ec.EllipticCurvePublicKey:
    parts = key.key
    # The client has enumerations for the values that it knows, and texts for all others.
    kind, curve = (getattr(it, "value", it) or "" for it in (parts.kty, parts.crv))
    if key.properties.enabled is False:
        raise _refused(
            address, "the key is disabled", "an enabled key", "Enable the key in the vault"
        )
    if curve != "P-256":
        raise _refused(
            address,
            f"the key is of type {kind} {curve}".rstrip(),
            _FORM,
            "Create such a key: `az keyvault key create --vault-name VAULT --name KEY --kty EC "
            "--curve P-256`",
        )
    numbers = ec.EllipticCurvePublicNumbers(
        int.from_bytes(parts.x), int.from_bytes(parts.y), ec.SECP256R1()
    )
    return numbers.public_key()


@contextmanager
def _azure_errors(address: str) -> Iterator[None]:
    """Translate each refusal of the vault into a BlocksError."""
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
            address,
            f"the vault accepted no login ({_short(error)})",
            "a login for the vault",
            "Run `az login`",
        ) from error
    except ResourceNotFoundError as error:
        raise _refused(
            address,
            f"the vault has no such key ({_short(error)})",
            "a key that `az keyvault key list --vault-name VAULT` shows",
            "Pass --key with a name and version that the vault has",
        ) from error
    except HttpResponseError as error:
        raise _refused(
            address,
            f"the vault refused the request ({_short(error)})",
            "a login with the role Key Vault Crypto User, and a key that may sign",
            "Ask the owner of the vault for that role",
        ) from error
    except (AzureError, ValueError) as error:
        raise _refused(
            address,
            f"the vault cannot be used ({_short(error)})",
            "a vault that answers, and a key within its dates",
            "Check the name of the vault, the dates of the key and the network, and run the "
            "command again",
        ) from error


def _short(error: Exception) -> str:
    """Return the first line of an error: the client repeats the message below."""
    message = str(getattr(error, "message", None) or error).strip().partition("\n")[0]
    return message[:_LONGEST_MESSAGE]


def _refused(address: str, problem: str, expected: str, remedy: str) -> BlocksError:
    return BlocksError("key", address, problem, expected, remedy)
