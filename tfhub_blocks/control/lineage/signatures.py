"""Signatures of statements: a DSSE envelope next to each output, written and checked offline.

See https://github.com/secure-systems-lab/dsse (protocol and envelope, v1.0). Keys are PEM files:
Ed25519, or ECDSA on P-256 with SHA-256. A key of the second kind may also be in Azure Key Vault.
"""

# decisions 30 and 37

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from tfhub_blocks.control.lineage import vault_keys
from tfhub_blocks.control.lineage.chain_evidence import is_evidence
from tfhub_blocks.control.lineage.chains import Chain, Knot
from tfhub_blocks.control.lineage.findings import Verdict
from tfhub_blocks.control.lineage.promotion_statements import promotion_files
from tfhub_blocks.control.lineage.recorded_output import ENVELOPE_SUFFIX, Output
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import write_file
from tfhub_blocks.records.base.lineage import STATEMENT_NAME

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_UNSIGNED = "the statement is not signed"
_BY_ANOTHER = "the statement is signed by another key"

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
PublicKey = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey


class Signer(Protocol):
    """A private key that signs, in a file or in a vault."""

    @property
    def public(self) -> PublicKey:
        """The public key that checks the signatures."""

    def sign(self, content: bytes) -> bytes:
        """Return the signature of a content: of Ed25519, or of ECDSA with SHA-256 in DER."""


@dataclass(frozen=True)
class LocalSigner:
    """A signer with a key in memory."""

    key: PrivateKey

    @property
    def public(self) -> PublicKey:
        """The public key that checks the signatures."""
        return self.key.public_key()

    def sign(self, content: bytes) -> bytes:
        """Return the signature of a content."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(content)
        return self.key.sign(content, ec.ECDSA(hashes.SHA256()))


def read_signer(text: str) -> Signer:
    """Open the private key in a file, or a key in Azure Key Vault by its address.

    Raises:
        BlocksError: The key does not exist, is of another kind, or may not be used.
    """
    if text.startswith(vault_keys.SCHEME):
        return vault_keys.open_key(text)
    return LocalSigner(read_private_key(Path(text)))


def read_private_key(path: Path) -> PrivateKey:
    """Read a private key, to sign with.

    Raises:
        BlocksError: The file contains no key, an encrypted key, or a key of another kind.
    """
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(path, f"the file is not a readable private key ({error})") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise _no_key(path, "the key is of another kind")


def read_public_key(path: Path) -> PublicKey:
    """Read a public key, to check signatures with.

    Raises:
        BlocksError: The file contains no key, or a key of another kind.
    """
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, f"the file is not a readable public key ({error})") from error
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise _no_key(path, "the key is of another kind")


def _no_key(path: Path, problem: str) -> BlocksError:
    return BlocksError(
        "key",
        str(path),
        problem,
        "a PEM file without a password: Ed25519, or ECDSA on P-256",
        "Create a key with `openssl genpkey -algorithm ed25519 -out key.pem`, and its public half "
        "with `openssl pkey -in key.pem -pubout -out key.pub`",
    )


def sign_chain(chain: Chain, signer: Signer) -> list[Path]:
    """Sign each statement of a chain, its evidence and promotions; return the envelopes."""
    written = []
    for knot in _own(chain):
        path = _statement(knot.output)
        signed = [] if path is None else [(path, envelope_path(knot.output.path))]
        signed += [(it, envelope_path(it)) for it in promotion_files(knot.output)]
        for statement, target in signed:
            envelope = _envelope(statement.read_bytes(), signer)
            write_file(target, (json.dumps(envelope, indent=1) + "\n").encode())
            written.append(target)
    return written


def sign_file(path: Path, signer: Signer) -> Path:
    """Sign a statement in a file of its own, and return the envelope next to it."""
    target = envelope_path(path)
    envelope = _envelope(path.read_bytes(), signer)
    write_file(target, (json.dumps(envelope, indent=1) + "\n").encode())
    return target


def check_file(path: Path, key: PublicKey) -> str:
    """Return why an envelope is no valid signature of a file by a key, or an empty text."""
    return _problem(envelope_path(path), path.read_bytes(), key)


def check_signatures(chain: Chain, key: PublicKey, verdict: Verdict) -> None:
    """Add a fault for each statement of a chain that the key did not sign in its present form."""
    for knot in _own(chain):
        path, expected = _statement(knot.output), f"a signature by key {key_id(key)[:12]}"
        if path is not None:
            problem = _problem(envelope_path(knot.output.path), path.read_bytes(), key)
            if problem:
                verdict.fault("signature", knot.output.path, path.name, expected, problem)
        for decision in promotion_files(knot.output):
            problem = _problem(envelope_path(decision), decision.read_bytes(), key)
            if problem in (_UNSIGNED, _BY_ANOTHER):  # the promoter signs it, with another key
                verdict.note(f"{decision}: {problem}")
            elif problem:
                verdict.fault("signature", decision.parent, decision.name, expected, problem)


def _own(chain: Chain) -> list[Knot]:
    """Return the nodes of a chain without champions, which are signed in their own chain."""
    return [knot for knot in chain.knots.values() if not knot.is_champion]


def envelope_path(path: Path) -> Path:
    """Return the path of an output's envelope: next to it, as its digest covers the files in it."""
    return path.with_name(path.name + ENVELOPE_SUFFIX)


def key_id(key: PublicKey) -> str:
    """Return the SHA-256 of a public key, by which an envelope names the key."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return hashlib.sha256(key.public_bytes(serialization.Encoding.DER, form)).hexdigest()


def public_pem(key: PublicKey) -> bytes:
    """Return a public key in the form that ``verify --key`` reads."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form)


def _statement(output: Output) -> Path | None:
    if (output.path / STATEMENT_NAME).is_file():
        return output.path / STATEMENT_NAME
    return output.path if is_evidence(output) else None


def _encoded(payload: bytes) -> bytes:
    """Return the signed bytes: DSSE's pre-authentication encoding."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _envelope(payload: bytes, signer: Signer) -> dict[str, Any]:
    signature = base64.b64encode(signer.sign(_encoded(payload))).decode()
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"keyid": key_id(signer.public), "sig": signature}],
    }


def _problem(path: Path, statement: bytes, key: PublicKey) -> str:
    """Return the reason why an envelope is no valid signature of a statement, or an empty text."""
    if not path.is_file():
        return _UNSIGNED
    try:
        envelope = json.loads(path.read_text(encoding="utf-8"))
        payload = base64.b64decode(envelope["payload"], validate=True)
        signatures = [
            base64.b64decode(it["sig"], validate=True)
            for it in envelope["signatures"]
            if it.get("keyid") in (None, "", key_id(key))
        ]
        kind = envelope["payloadType"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{path.name} cannot be read ({error!r})"
    if kind != PAYLOAD_TYPE or payload != statement:
        return "the signature is of another statement"
    if not signatures:
        return _BY_ANOTHER
    if not any(_is_by(key, signature, _encoded(payload)) for signature in signatures):
        return "the signature is not valid for this key"
    return ""


def _is_by(key: PublicKey, signature: bytes, signed: bytes) -> bool:
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
        else:
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True
