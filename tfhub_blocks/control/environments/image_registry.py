"""The digest of a container image, from its registry's HTTP API.

See https://distribution.github.io/distribution/spec/api/ and .../spec/auth/token/.
"""

import hashlib
import http.client
import json
import re
import urllib.parse
from collections.abc import Mapping

from tfhub_blocks.records.base.http_client import (
    HttpError,
    chunks,
    is_loopback,
    is_safe,
    opened,
)
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


class LookupFailedError(Exception):
    """A failed request for a digest to a registry; the text states the cause."""


def image_digest(image: Image) -> str:
    """Return the digest ``sha256:...`` to which an image's tag points now.

    Raises:
        LookupFailedError: The network or the image is missing, or the registry requires an account.
    """
    host, repository = _place(image.reference.removesuffix(f":{image.tag}"))
    scheme = "http" if is_loopback(host) else "https"
    url = f"{scheme}://{host}/v2/{repository}/manifests/{image.tag}"
    try:
        return _digest(url, {"Accept": ACCEPT})
    except HttpError as error:
        answered = f"answered with status {error}"
        problem = answered if error.status else f"cannot be reached ({error})"
        raise LookupFailedError(f"{host} {problem}") from error
    except ValueError as error:
        raise LookupFailedError(f"{host} cannot be reached ({error})") from error


def _place(name: str) -> tuple[str, str]:
    """Return the host and the repository of an image's name, by Docker's rules."""
    host, slash, rest = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return (DEFAULT_HOST if host == "docker.io" else host), rest
    return DEFAULT_HOST, name if slash else f"library/{name}"


def _digest(url: str, headers: Mapping[str, str]) -> str:
    try:
        answered, _ = _request("HEAD", url, headers)
    except HttpError as error:
        challenge = error.headers.get("WWW-Authenticate", "")
        if error.status != http.client.UNAUTHORIZED or not challenge.lower().startswith("bearer"):
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
    if not is_safe(realm):
        raise ValueError(f"the registry's token address {realm!r} is not https")
    query = {key: facts[key] for key in ("service", "scope") if key in facts}
    _, content = _request("GET", f"{realm}?{urllib.parse.urlencode(query)}", {})
    record = json.loads(content)
    return str(record.get("token") or record.get("access_token", ""))


def _request(method: str, url: str, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
    with opened(url, headers, TIMEOUT_S, method) as answer:
        return answer.headers, b"".join(chunks(answer))
