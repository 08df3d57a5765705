"""A managed identity: tokens as Azure's, signed by nobody."""

import base64
import json
import secrets
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

TENANT = "72f988bf-0000-4000-8000-000000000001"
OBJECT = "72f988bf-0000-4000-8000-000000000002"
LIFETIME_S = 24 * 3600

_AUDIENCES = {
    "https://management.azure.com",
    "https://ml.azure.com",
    "https://storage.azure.com",
    "https://vault.azure.net",
}


def object_of(person: str) -> str:
    """The object id of a person of this address; of the application if it is nobody's."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, person)) if person else OBJECT


def make_token(audience: str, lifetime_s: int = LIFETIME_S, person: str = "") -> str:
    """A JWT for an audience, with the claims that the SDK and Azurite read.

    It is an application's, or that of a person of this address.
    """
    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": now - 60,
        "nbf": now - 60,
        "exp": now + lifetime_s,
        "tid": TENANT,
        "oid": object_of(person),
        "appid": object_of(person),
        "ver": "1.0",
        **({"idtyp": "user", "upn": person} if person else {"idtyp": "app"}),
    }
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    encoded = [_base64(json.dumps(part).encode()) for part in parts]
    return ".".join([*encoded, _base64(b"nobody signed this")])


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def claims_of(authorization: str) -> dict[str, object]:
    """The claims of a ``Bearer`` header, none if it holds no token."""
    try:
        payload = authorization.removeprefix("Bearer ").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


class IdentityEndpoint(ThreadingHTTPServer):
    """The token endpoint of App Service's kind: ``IDENTITY_ENDPOINT`` and ``IDENTITY_HEADER``.

    ``given`` holds every token that was handed out, for tests that look for leaks. Tokens are good
    for ``lifetime_s``, and are those of ``person``, or of an application if nobody is named.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secret = secrets.token_hex(16)
        self.given: list[str] = []
        self.lifetime_s = LIFETIME_S
        self.person = ""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def issue(self, audience: str, lifetime_s: int) -> str:
        """A token, which is then one of those given."""
        token = make_token(audience, lifetime_s, self.person)
        self.given.append(token)
        return token

    def environment(self) -> dict[str, str]:
        return {
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self.server_port}/msi/token",
            "IDENTITY_HEADER": self.secret,
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: IdentityEndpoint

    def do_GET(self) -> None:  # the base class's
        query = parse_qs(urlsplit(self.path).query)
        audience = query.get("resource", [""])[0].rstrip("/")
        if self.headers.get("X-IDENTITY-HEADER") != self.server.secret:
            self._answer(401, {"message": "wrong X-IDENTITY-HEADER"})
        elif audience not in _AUDIENCES:
            self._answer(400, {"message": f"there is no resource {audience!r}"})
        else:
            token = self.server.issue(audience, self.server.lifetime_s)
            expires = str(claims_of(f"Bearer {token}")["exp"])
            self._answer(
                200,
                {
                    "access_token": token,
                    "expires_on": expires,
                    "resource": audience,
                    "token_type": "Bearer",
                },
            )

    def _answer(self, status: int, body: dict[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass
