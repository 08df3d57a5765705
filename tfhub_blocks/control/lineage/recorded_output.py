"""An output of a step in a local folder: its statement, and the digests that the store recorded."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.control.project.output_store import RECORD_NAME
from tfhub_blocks.records.base.digests import file_sha256, is_safe_relative_path, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, Lineage, read_lineage

# The suffix of a signature next to an output.
ENVELOPE_SUFFIX = ".dsse.json"


@dataclass(frozen=True)
class RecordedDigests:
    """The digests that the store recorded for an output: of its content, and of all its files."""

    content: str
    whole: str


@dataclass(frozen=True)
class Output:
    """A folder or a file that a step wrote. Only its statement has been read.

    ``digest`` is the digest of the content by which a later statement names the output: from its
    own statement, else from the record of the store, else computed. ``key`` and ``recorded`` are
    set for outputs in the store. ``problem`` is the reason why an expected lineage is missing.
    """

    path: Path
    digest: str
    lineage: Lineage | None = None
    statement: str = ""
    key: str = ""
    recorded: RecordedDigests | None = None
    problem: str = ""

    @property
    def port(self) -> str:
        """The port at which the step wrote the output."""
        return self.lineage.name if self.lineage else self.path.name

    @property
    def kind(self) -> str:
        """The kind of the output: its format without the version, or its port."""
        return self.lineage.format.partition("/")[0] if self.lineage else self.path.name

    @property
    def recorded_digest(self) -> str:
        """The recorded digest of the content, as a later statement would name it, or empty."""
        if self.recorded is None:
            return ""
        if self.path.is_file():
            return tree_digest({self.path.name: self.recorded.content})
        return self.recorded.content


def read_output(path: Path, key: str = "", recorded: RecordedDigests | None = None) -> Output:
    """Read the output at a path.

    Raises:
        OSError: The output cannot be read.
    """
    if path.is_file():
        return Output(path, tree_digest({path.name: file_sha256(path)}), None, "", key, recorded)
    try:
        lineage = read_lineage(path)
    except BlocksError as error:
        known = recorded.content if recorded else ""
        has_statement = (path / STATEMENT_NAME).is_file()
        problem = error.problem if has_statement else ""
        return Output(path, known, None, "", key, recorded, problem)
    statement = file_sha256(path / STATEMENT_NAME)
    return Output(path, lineage.digest, lineage, statement, key, recorded)


def stored_outputs(store: Path) -> Iterator[Output]:
    """Yield the outputs of a store whose records can be read."""
    for path in sorted(store.glob(f"*/{RECORD_NAME}")):
        folder = path.parent
        if ".attempt-" in folder.name:
            continue
        for port, recorded in _record(path).items():
            output = folder / port
            if output.exists():
                yield read_output(output, folder.name, recorded)


def downloaded_outputs(downloads: Path) -> Iterator[Output]:
    """Yield the outputs that were downloaded from jobs on Azure ML, each below its job's name."""
    for path in sorted(downloads.glob("*/[!.]*")):
        yield read_output(path)


def _record(path: Path) -> dict[str, RecordedDigests | None]:
    """Return the recorded digests by port; if the record cannot be read, None for each entry."""
    try:
        record: Any = json.loads(path.read_text(encoding="utf-8"))
        return {
            port: RecordedDigests(str(digest), str(record["whole"][port]))
            for port, digest in record["digests"].items()
            if is_safe_relative_path(port) and "/" not in port
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        names = {entry.name for entry in path.parent.iterdir()} - {RECORD_NAME}
        return {name: None for name in sorted(names) if not name.endswith(ENVELOPE_SUFFIX)}
