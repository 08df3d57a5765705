"""Removal of secrets from texts: addresses, settings, answers and errors contain some."""

# decision 70

import re
from collections.abc import Iterable, Mapping
from typing import Any

HIDDEN = "***"
# Queries of addresses that are no secret; the value of any other one is.
_PLAIN_QUERIES = (
    "api-version|tf-hub-format|hub-format|version|format|rev|revision|raw|download|dl|offset|limit"
    r"|wsid|tid|page|search|filter|\$filter|\$top|\$skip|orderby|currencyCode|comp|restype|include|expand"
)
_USER = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)(?:[^\s/?#\"'<>@:]*:(?!\d+/)[^\s\"'<>@]*@)+")
_USER_ALONE = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)(?!\*\*\*@)[^\s/?#\"'<>]+@")
# The account in an address of Azure storage is the container, not a user.
_STORAGE = re.compile(r"(?i)(?:wasbs?|abfss?)://[\w$-]+@(?=[\w.-]+)")
_QUERY = re.compile(
    rf"(?i)(?<=[?&;])((?!(?:{_PLAIN_QUERIES})=)[\w.$%~-]+=)(?!\*\*\*)[^&;\s\"'<>#]+"
)
# A query without a name: a share link.
_NAMELESS = re.compile(r"(?<=\?)(?!\*\*\*)[^=&#\s\"'<>]{8,}(?=$|[#&])")
_LOCAL = re.compile(r"(?i)(?:sqlite|file):")
_ADDRESS = re.compile(r"(?i)\b[a-z][a-z0-9+.-]*://[^\s\"'<>]+")
# Settings by their names, as in connection strings and queries without an address.
_NAMED = re.compile(
    r"(?i)(\b(?:sig|sv|se|skoid|sktid|ske|account_?key|shared_?access_?(?:key|signature)"
    r"|access_?token|refresh_?token|id_?token|auth_?token|token|client_?secret|secret"
    r"|api_?key|access_?key|secret_?key|subscription-key|password|passwd|pwd"
    r"|x-(?:amz|goog)-[\w-]+|awsaccesskeyid|signature|credential)=)(?!\*\*\*)"
    # The name of a SavedModel's signature is words in lower case, and no secret.
    r"(?!(?<=\bsignature=)(?-i:NAME|[a-z]{1,24}(?:_[a-z0-9]{1,16}){0,6})(?:[\s,.;:'\")]|$))"
    r"[^&;,\s\"'<>]+"
)
_HEADER = re.compile(r"(?i)\b(bearer\s+|basic\s+(?=[\w+/-]{12,}={0,2}))[\w+/.~-]{6,}=*")
# Tokens that are known by their form: JWTs, and those of widely used services.
_FORM = re.compile(
    r"\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bhf_[A-Za-z0-9]{20,}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bxox[abpr]-[\w-]{10,}|\bglpat-[\w-]{16,}|\bKGAT_\w{20,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
_SECRET_NAME = re.compile(
    r"(?i)(^|_)(key|token|secret|password|passwd|pwd|sas|credential|credentials|pat"
    r"|connection_?string|connstr|apikey|auth|header)s?($|_)"
)
# A shorter value, such as a flag, is part of ordinary texts.
_LEAST_SECRET = 8


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text with its secrets replaced by ``***``.

    Secrets are user information and queries in addresses, signatures, keys, passwords and tokens
    after their names, bearer values, tokens of a known form, and the values in ``secrets``.
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    if "://" in text:
        text = _ADDRESS.sub(lambda match: _address(match[0]), text)
    if "=" in text:
        text = _NAMED.sub(rf"\1{HIDDEN}", text)
    return _FORM.sub(HIDDEN, _HEADER.sub(rf"\1{HIDDEN}", text))


def _address(text: str) -> str:
    if _LOCAL.match(text):
        return text
    if not _STORAGE.match(text):
        text = _USER.sub(rf"\1{HIDDEN}@", text)
        text = _USER_ALONE.sub(rf"\1{HIDDEN}@", text)
    return _NAMELESS.sub(HIDDEN, _QUERY.sub(rf"\1{HIDDEN}", text))


def has_secret(text: str) -> bool:
    """Return True if a text contains what ``redacted`` replaces."""
    return redacted(text) != text


def without_secrets(value: Any) -> Any:
    """Return a JSON-ready value whose texts, at any depth, are redacted."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {without_secrets(key): without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return value


def secret_paths(value: Any, path: str = "") -> Iterable[str]:
    """Yield the dotted path of each text in a JSON-ready value that contains a secret."""
    if isinstance(value, str):
        if has_secret(value):
            yield path
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from secret_paths(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from secret_paths(item, f"{path}[{index}]")


def environment_secrets(variables: Mapping[str, str]) -> list[str]:
    """Return the values of environment variables whose names say that they are secret.

    The longest values come first, so that none is replaced in part.
    """
    found = {
        value
        for name, value in variables.items()
        if _SECRET_NAME.search(name) and len(value) >= _LEAST_SECRET and not value.startswith("/")
    }
    return sorted(found, key=len, reverse=True)
