"""The expectations of a release lock that a step checks at run time before it works."""

# decision 32

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.digests import file_sha256, tree_digest
from tfhub_blocks.records.base.folders import content_sha256
from tfhub_blocks.records.base.lineage import STATEMENT_NAME

VARIABLE = "TFHUB_BLOCKS_EXPECTED"
# The fact with the digests of the inputs that the lock pins, in the lineage of a step.
LOCKED_FACT = "locked_inputs"
# Azure ML creates these folders next to a step's code while it runs.
_RUNTIME_FOLDERS = frozenset({"azureml-logs", "logs", "outputs", "system_logs", "user_logs"})


@dataclass(frozen=True)
class Expected:
    """The expectations of a release lock about one step, and the policies in force.

    ``lock`` is the name of the release. ``code`` is the digest of the code snapshot, and
    ``environment`` the NAME:VERSION in the snapshot's package lock. ``parameters`` contains every
    parameter of the step, and ``inputs`` the digest of each external input, by port. ``policies``
    are environment variables. ``open`` contains the open inputs by port: the parent lock's digest
    (``parent``), its input (``input``), the data asset (``name``) and the ``rule``.
    """

    lock: str
    code: str
    environment: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)
    open: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def as_text(self) -> str:
        """Return the text for an environment variable."""
        record = asdict(self)
        if not self.open:
            del record["open"]
        return json.dumps(record, sort_keys=True, ensure_ascii=True)

    def differences(self, seen: "Expected") -> Iterator[tuple[str, str, str]]:
        """Yield each difference from the observed values, as (name, expected, found).

        Inputs are not compared here; see ``has_content``.
        """
        if seen.code != self.code:
            yield "code", self.code, seen.code
        if seen.environment != self.environment:
            yield "environment", self.environment, seen.environment or "none"
        for kind in ("parameters", "policies"):
            expected, found = getattr(self, kind), getattr(seen, kind)
            for name in sorted(expected.keys() | found.keys()):
                if not _is_same(expected.get(name), found.get(name)):
                    yield name, repr(expected.get(name)), repr(found.get(name))


def parse_expected(text: str) -> Expected:
    """Parse a text that ``as_text`` returned.

    Raises:
        ValueError: The text is something else.
    """
    try:
        return Expected(**json.loads(text))
    except TypeError as error:
        raise ValueError(str(error)) from error


def code_digest(files: Mapping[str, str]) -> str:
    """Return the digest of a running code snapshot, from the SHA-256 of each file by its path."""
    return tree_digest(
        {n: sha for n, sha in files.items() if n.partition("/")[0] not in _RUNTIME_FOLDERS}
    )


def has_content(path: Path, digest: str) -> bool:
    """Return True if a digest is that of a file or folder. Every byte is read.

    The digest of a folder may cover all files (an encoder), or all but the lineage (data).
    """
    if path.is_file():
        return file_sha256(path) == digest
    files = content_sha256(path)
    if tree_digest(files) == digest:
        return True
    files.pop(STATEMENT_NAME, None)
    return tree_digest(files) == digest


def _is_same(one: Any, other: Any) -> bool:
    # The SDK passes booleans as 1 or 0, but never passes a text for a number.
    return one == other and isinstance(one, str) == isinstance(other, str)
