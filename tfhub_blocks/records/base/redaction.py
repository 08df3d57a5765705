"""Removal of secrets from texts: Azure's answers and addresses contain some."""

import re

# Signatures of storage addresses, bearer tokens, keys of accounts and every JWT.
_SECRET = re.compile(
    r"(?i)(\b(?:sig|sv|se|skoid|sktid)=)[^&\s\"']+|(bearer\s+)\S+|(AccountKey=)[^;\s\"']+"
    r"|()eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
)


def redacted(text: str) -> str:
    """Return a text with its signatures, tokens and keys replaced by ``***``."""
    return _SECRET.sub(lambda match: "".join(g or "" for g in match.groups()) + "***", text)
