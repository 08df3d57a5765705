"""Outputs of steps, kept by the content that they were made from, for reuse."""

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.records.base.digests import file_sha256, files_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import (
    PARTIAL_NAME,
    WORK_NAME,
    WORKERS_NAME,
    without_remains,
    write_file,
)
from tfhub_blocks.records.base.lineage import STATEMENT_NAME

RECORD_NAME = "step.json"
_POLL_S = 0.1


def content_digest(path: Path) -> str:
    """The digest of a file's or folder's content, read in full, without the lineage it carries."""
    return _digests(path)[0]


def _digests(path: Path) -> tuple[str, str]:
    """The digest of a file's or folder's content, and that with the lineage, which has times."""
    if path.is_file():
        return file_sha256(path), file_sha256(path)
    files = without_remains(files_sha256(path))
    whole = tree_digest(files)
    files.pop(STATEMENT_NAME, None)
    return tree_digest(files), whole


@dataclass(frozen=True)
class Stored:
    """The finished outputs of one step: path and digest by port, and how long it took."""

    outputs: Mapping[str, Path]
    digests: Mapping[str, str]
    seconds: float


@dataclass(frozen=True)
class Store:
    """A folder of finished steps, one folder each, named by its reuse key."""

    folder: Path

    @contextmanager
    def locked(self, key: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold a key, so that of two runs that want the same step one makes it.

        Until the key is free ``on_wait`` is called, again and again; it may raise to give up.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{key}.lock").open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    on_wait()
                    time.sleep(_POLL_S)
            yield

    def find(self, key: str, on_damage: Callable[[str], None] = lambda _: None) -> Stored | None:
        """The outputs under a key, every byte checked; damaged ones are removed and not found."""
        folder = self.folder / key
        if not folder.is_dir():
            return None
        damaged = RECORD_NAME
        try:
            record = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
            outputs = {port: folder / port for port in record["digests"]}
            for port, path in outputs.items():
                damaged = port
                if _digests(path) != (record["digests"][port], record["whole"][port]):
                    raise ValueError(port)
            return Stored(outputs, record["digests"], record["seconds"])
        except (OSError, ValueError, KeyError, TypeError, BlocksError):
            on_damage(f"{folder / damaged} was changed after it was made; it is made again")
            shutil.rmtree(folder)
            return None

    def peek(self, key: str) -> Stored | None:
        """What is under a key, as its record has it: nothing is read in full, nor removed."""
        folder = self.folder / key
        try:
            record = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
            outputs = {port: folder / port for port in record["digests"]}
            return Stored(outputs, record["digests"], record["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, key: str, output_types: Mapping[str, str], take_up: bool = True) -> Path:
        """A folder for a step to write into: output folders exist beforehand, as on Azure.

        What failed and killed attempts at this key left is removed; but the work that they kept is
        in the new one, if that is to take it up. The caller holds the lock of the key.
        """
        earlier = list(self.folder.glob(f"{key}.attempt-*"))
        attempt = self.folder / f"{key}.attempt-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        attempt.mkdir(parents=True)
        for port, kind in output_types.items():
            if kind == "uri_folder":
                (attempt / port).mkdir()
        for old in earlier:
            for work in _kept_work(old) if take_up else ():
                target = attempt / work.relative_to(old)
                # By a rename, so that a kill leaves it in one of the two.
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    work.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        return attempt

    def finish(
        self, key: str, attempt: Path, step: str, output_types: Mapping[str, str], seconds: float
    ) -> Stored:
        """Keep what an attempt made under its key.

        Raises:
            BlocksError: The step ended well but an output is absent or unfinished.
        """
        digests, whole = {}, {}
        for port, kind in output_types.items():
            path = attempt / port
            if not (path.is_file() if kind == "uri_file" else path.is_dir()):
                raise BlocksError(
                    step, port, "the step did not write this output", kind, "mend the component"
                )
            if (path / PARTIAL_NAME).exists():
                raise BlocksError(
                    step,
                    port,
                    "the step ended with status 0 before this output was complete",
                    "status 0 of complete steps only",
                    f"see its log and mend the component, which wrote {PARTIAL_NAME}",
                )
            # A worker that was the last to look into it may have made it again.
            shutil.rmtree(path / WORK_NAME, ignore_errors=True)
            digests[port], whole[port] = _digests(path)
        record = {"step": step, "digests": digests, "whole": whole, "seconds": seconds}
        write_file(attempt / RECORD_NAME, json.dumps(record, indent=1).encode())
        final = self.folder / key
        shutil.rmtree(final, ignore_errors=True)
        attempt.rename(final)
        return Stored({port: final / port for port in digests}, digests, seconds)

    def discard(self, attempt: Path, keep_work: bool) -> None:
        """Remove what a failed attempt made, unless it kept work for the next one at its key."""
        if not keep_work or not any(_kept_work(attempt)):
            shutil.rmtree(attempt, ignore_errors=True)


def _kept_work(attempt: Path) -> Iterator[Path]:
    """The folders of finished parts that an attempt left."""
    for work in attempt.glob(f"*/{WORK_NAME}/*"):
        if work.name != WORKERS_NAME and any(work.iterdir()):
            yield work
