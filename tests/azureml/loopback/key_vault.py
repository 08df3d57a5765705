"""An Azure Key Vault on loopback, of the calls that signing needs: its keys are real and sign.

See https://learn.microsoft.com/rest/api/keyvault/keys (get key, sign).
"""

import base64
import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
)

from loopback.certificates import Certificates
from loopback.identity import TENANT, claims_of

AUDIENCE = "https://vault.azure.net"
CHALLENGE = (
    f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{AUDIENCE}"'
)


@dataclass
class VaultKey:
    """A version of a key, and what may be done with it."""

    private: Any
    enabled: bool = True
    may_sign: bool = True
    answers_with: Any = None  # another key, of a vault that cheats


@dataclass
class Vault:
    """Keys by name, each with its versions in order; and what was asked."""

    keys: dict[str, dict[str, VaultKey]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    signed: list[bytes] = field(default_factory=list)

    def put(self, name: str, private: Any, **options: Any) -> str:
        """Add a version of a key; give its name."""
        versions = self.keys.setdefault(name, {})
        version = f"{len(versions) + 1:032x}"
        versions[version] = VaultKey(private, **options)
        return version

    def answer(self, host: str, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Status and body of the answer to a request with a good token."""
        _, kind, name, *rest = path.split("/")
        versions = self.keys.get(name, {})
        version = (rest[0] if rest else "") or next(reversed(versions), "")
        key = versions.get(version)
        if kind != "keys" or key is None:
            return _error(
                404, "KeyNotFound", f"A key with (name/id) {name}/{version} was not found"
            )
        identifier = f"https://{host}/keys/{name}/{version}"
        if method == "GET":
            attributes = {"enabled": key.enabled, "created": 1, "updated": 1}
            return 200, {"key": {"kid": identifier, **_jwk(key.private)}, "attributes": attributes}
        if rest[1:] != ["sign"] or not key.may_sign:
            return _error(403, "Forbidden", "Operation sign is not permitted on this key")
        asked = json.loads(body)
        if asked["alg"] != "ES256":
            return _error(400, "BadParameter", f"alg {asked['alg']} does not go with the key")
        digest = _decoded(asked["value"])
        self.signed.append(digest)
        signing = key.answers_with or key.private
        signature = signing.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        value = b"".join(part.to_bytes(32) for part in decode_dss_signature(signature))
        return 200, {"kid": identifier, "value": _encoded(value)}


def _jwk(private: Any) -> dict[str, Any]:
    operations = {"key_ops": ["sign", "verify"]}
    if isinstance(private, rsa.RSAPrivateKey):
        public = private.public_key().public_numbers()
        modulus, exponent = _encoded(public.n.to_bytes(256)), _encoded(public.e.to_bytes(3))
        return {"kty": "RSA", "n": modulus, "e": exponent, **operations}
    numbers, size = private.public_key().public_numbers(), (private.key_size + 7) // 8
    curve = {"secp256r1": "P-256", "secp384r1": "P-384"}[private.curve.name]
    x, y = (_encoded(part.to_bytes(size)) for part in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": curve, "x": x, "y": y, **operations}


def _error(status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"error": {"code": code, "message": message}}


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class KeyVaultServer(ThreadingHTTPServer):
    """The vault behind HTTPS; each request needs a token for it."""

    daemon_threads = True

    def __init__(self, certificates: Certificates) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.vault = Vault()
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificates.certificate, certificates.key)
        self.socket = tls.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: KeyVaultServer

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.partition("?")[0]
        self.server.vault.asked.append(f"{self.command} {path}")
        token = claims_of(self.headers.get("Authorization", ""))
        if token.get("aud") != AUDIENCE:
            self._answer(401, {"error": {"code": "Unauthorized"}}, {"WWW-Authenticate": CHALLENGE})
            return
        host = self.headers["Host"]
        self._answer(*self.server.vault.answer(host, self.command, path, body), {})

    do_GET = do_POST = _handle  # noqa: N815  # the base class's

    def _answer(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass
