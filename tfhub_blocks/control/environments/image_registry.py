"""The digest of a container image, from its registry's HTTP API.

See https://distribution.github.io/distribution/spec/api/ and .../spec/auth/token/.
"""

import hashlib
import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from email.message import Message

from tfhub_blocks.records.environment.environment_definitions import Image

TIMEOUT_S = 10.0
DEFAULT_HOST = "registry-1.docker.io"
DIGEST_HEADER = "Docker-Content-Digest"
# An index first: one digest for all machine types.
ACCEPT = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_LOOPBACK = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")


class LookupFailedError(Exception):
    """A failed request for a digest to a registry; the text states the cause."""


def image_digest(image: Image) -> str:
    """Return the digest ``sha256:...`` to which an image's tag points now.

    Raises:
        LookupFailedError: The network or the image is missing, or the registry requires an account.
    """
    host, repository = _place(image.reference.removesuffix(f":{image.tag}"))
    scheme = "http" if _LOOPBACK.fullmatch(host) else "https"
    url = f"{scheme}://{host}/v2/{repository}/manifests/{image.tag}"
    try:
        return _digest(url, {"Accept": ACCEPT})
    except urllib.error.HTTPError as error:
        status = f"{error.code} {error.reason}"
        raise LookupFailedError(f"{host} answered with status {status}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise LookupFailedError(f"{host} cannot be reached ({reason})") from error


def _place(name: str) -> tuple[str, str]:
    """Return the host and the repository of an image's name, by Docker's rules."""
    host, slash, rest = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return (DEFAULT_HOST if host == "docker.io" else host), rest
    return DEFAULT_HOST, name if slash else f"library/{name}"


def _digest(url: str, headers: Mapping[str, str]) -> str:
    try:
        answered, _ = _request("HEAD", url, headers)
    except urllib.error.HTTPError as error:
        challenge = error.headers.get("WWW-Authenticate", "")
        if error.code != http.client.UNAUTHORIZED or not challenge.lower().startswith("bearer"):
            raise
        headers = {**headers, "Authorization": f"Bearer {_token(challenge)}"}
        answered, _ = _request("HEAD", url, headers)
    digest = answered.get(DIGEST_HEADER, "")
    if not digest:  # the header is optional; the digest is that of the manifest's bytes
        _, content = _request("GET", url, headers)
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    if not _DIGEST.fullmatch(digest):
        raise ValueError(f"the registry returned the digest {digest!r}")
    return digest


def _token(challenge: str) -> str:
    """Return an anonymous token from the address in the registry's challenge."""
    facts = dict(_CHALLENGE.findall(challenge))
    realm = facts.pop("realm", "")
    parts = urllib.parse.urlsplit(realm)
    if parts.scheme != "https" and not _LOOPBACK.fullmatch(parts.netloc):
        raise ValueError(f"the registry's token address {realm!r} is not https")
    query = {key: facts[key] for key in ("service", "scope") if key in facts}
    _, content = _request("GET", f"{realm}?{urllib.parse.urlencode(query)}", {})
    record = json.loads(content)
    return str(record.get("token") or record.get("access_token", ""))


def _request(method: str, url: str, headers: Mapping[str, str]) -> tuple[Message, bytes]:
    request = urllib.request.Request(url, method=method)  # noqa: S310  # https, or loopback
    for name, value in headers.items():
        # Not sent again when the registry redirects to third-party storage.
        request.add_unredirected_header(name, value)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        return answer.headers, answer.read()
