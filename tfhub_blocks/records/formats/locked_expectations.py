"""What a step that replays a lock must see at run time, or end."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.digests import file_sha256, files_sha256, tree_digest
from tfhub_blocks.records.base.folders import without_remains
from tfhub_blocks.records.base.lineage import STATEMENT_NAME

VARIABLE = "TFHUB_BLOCKS_EXPECTED"
# What Azure ML puts beside a step's code while it runs.
_RUNTIME_FOLDERS = frozenset({"azureml-logs", "logs", "outputs", "system_logs", "user_logs"})


@dataclass(frozen=True)
class Expected:
    """What the lock of that name says of a step, and the policies that are in force.

    ``code`` is the digest of the code snapshot, ``environment`` the NAME:VERSION that the lock in
    the snapshot states, ``parameters`` is every parameter that arrives, and ``inputs`` the digest
    of what is given from outside, by port. ``policies`` are environment variables.
    """

    lock: str
    code: str
    environment: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, str] = field(default_factory=dict)

    def as_text(self) -> str:
        """As an environment variable carries it."""
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=True)

    def differences(self, seen: "Expected") -> Iterator[tuple[str, str, str]]:
        """Each difference to what was seen, as what, expected and found.

        Inputs are not among them: see ``has_content``.
        """
        if seen.code != self.code:
            yield "code", self.code, seen.code
        if seen.environment != self.environment:
            yield "environment", self.environment, seen.environment or "none"
        for kind in ("parameters", "policies"):
            ours, theirs = getattr(self, kind), getattr(seen, kind)
            for name in sorted(ours.keys() | theirs.keys()):
                if not _is_same(ours.get(name), theirs.get(name)):
                    yield name, repr(ours.get(name)), repr(theirs.get(name))


def parse_expected(text: str) -> Expected:
    """What ``as_text`` wrote.

    Raises:
        ValueError: It is something else.
    """
    try:
        return Expected(**json.loads(text))
    except TypeError as error:
        raise ValueError(str(error)) from error


def code_digest(files: Mapping[str, str]) -> str:
    """The digest of a code snapshot where it runs, from the SHA-256 of each file by its path."""
    return tree_digest(
        {n: sha for n, sha in files.items() if n.partition("/")[0] not in _RUNTIME_FOLDERS}
    )


def has_content(path: Path, digest: str) -> bool:
    """Whether a file or folder has the content that a digest is of; every byte is read.

    The digest may be over all files (of an encoder), or over all but the lineage (of data).
    """
    if path.is_file():
        return file_sha256(path) == digest
    files = without_remains(files_sha256(path))
    if tree_digest(files) == digest:
        return True
    files.pop(STATEMENT_NAME, None)
    return tree_digest(files) == digest


def _is_same(one: Any, other: Any) -> bool:
    # The SDK gives booleans as 1 or 0, but never a text for a number.
    return one == other and isinstance(one, str) == isinstance(other, str)
