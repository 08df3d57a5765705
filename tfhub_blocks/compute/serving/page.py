"""The page to try a model: one file, which sends requests only to its own server."""

import base64
import hashlib

from tfhub_blocks.records.base.templates import read_beside, render

_STYLE, _SCRIPT = read_beside(__file__, ".css"), read_beside(__file__, ".js")


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


# Allows only this script and style, this server, and the chosen file from memory.
POLICY = (
    f"default-src 'none'; script-src {_hash(_SCRIPT)}; style-src {_hash(_STYLE)}; "
    "connect-src 'self'; img-src blob: data:; media-src blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
PAGE = render(__file__, style=_STYLE, script=_SCRIPT)
