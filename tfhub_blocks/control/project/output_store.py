"""A store of step outputs for reuse, addressed by the content that each step consumed."""

# decisions 1 and 17

import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfhub_blocks.records.base.digests import file_sha256, tree_digest
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import (
    PARTIAL_NAME,
    WORK_NAME,
    WORKERS_NAME,
    Folder,
    content_sha256,
    write_file,
)
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage

RECORD_NAME = "step.json"
_POLL_S = 0.1


def content_digest(path: Path) -> str:
    """Return the digest of a file's or folder's complete content, without its lineage statement.

    Raises:
        BlocksError: The folder is a finished output that lacks a file, or contains anything that
            its lineage does not list; or the folder contains a link to a folder or a device.
    """
    if (path / STATEMENT_NAME).is_file():
        Folder(path, read_lineage(path)).check_names()
    return _digests(path)[0]


def _digests(path: Path) -> tuple[str, str]:
    """Return the digests of a file or folder without and with its lineage, which contains times."""
    if path.is_file():
        return file_sha256(path), file_sha256(path)
    files = content_sha256(path)
    with_lineage = tree_digest(files)
    files.pop(STATEMENT_NAME, None)
    return tree_digest(files), with_lineage


@dataclass(frozen=True)
class Stored:
    """The finished outputs of one step: path and digest by port, how long it took, its warnings."""

    outputs: Mapping[str, Path]
    digests: Mapping[str, str]
    seconds: float
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Store:
    """A folder of finished steps, one folder each, named by its reuse key."""

    folder: Path

    @contextmanager
    def locked(self, key: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Lock a key, so that only one of several runs executes the same step.

        While the key is locked elsewhere, ``on_wait`` is called repeatedly. A call that raises ends
        the wait.
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
        """Return the outputs under a key after checking every byte, or None.

        Damaged outputs are removed and count as absent.
        """
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
            return _stored(outputs, record)
        except (OSError, ValueError, KeyError, TypeError, BlocksError):
            on_damage(
                f"{folder / damaged} was changed after the step wrote it; the step runs again"
            )
            shutil.rmtree(folder)
            return None

    def peek(self, key: str) -> Stored | None:
        """Return the outputs that a key's record lists, without reading or removing any of them."""
        folder = self.folder / key
        try:
            record = json.loads((folder / RECORD_NAME).read_text(encoding="utf-8"))
            outputs = {port: folder / port for port in record["digests"]}
            return _stored(outputs, record)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def begin(self, key: str, output_types: Mapping[str, str], take_up: bool = True) -> Path:
        """Create a folder for a step's outputs; output folders exist beforehand, as on Azure ML.

        Remains of failed and killed attempts at this key are removed. With ``take_up`` the work
        that those attempts kept is moved into the new folder first. The caller must hold the key's
        lock.
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
                # A rename, so that a kill leaves the work in one of the two folders.
                if not target.exists():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    work.rename(target)
            shutil.rmtree(old, ignore_errors=True)
        return attempt

    def finish(
        self,
        key: str,
        attempt: Path,
        step: str,
        output_types: Mapping[str, str],
        seconds: float,
        warnings: Sequence[str] = (),
    ) -> Stored:
        """Store the outputs of a successful attempt under its key, with the step's warnings.

        Raises:
            BlocksError: The step ended with status 0, but an output is absent or incomplete.
        """
        digests, with_lineage = {}, {}
        for port, kind in output_types.items():
            path = attempt / port
            if not (path.is_file() if kind == "uri_file" else path.is_dir()):
                raise BlocksError(
                    step,
                    port,
                    f"the step did not write output {port}",
                    f"a {kind}",
                    f"Change the step's component.py, so that the step writes {port} before it"
                    " ends with status 0",
                )
            if (path / PARTIAL_NAME).exists():
                raise BlocksError(
                    step,
                    port,
                    f"the step ended with status 0 before output {port} was complete",
                    "status 0 from complete steps only",
                    f"Change the step's component.py, so that an incomplete output, which contains"
                    f" {PARTIAL_NAME}, ends with another status; the step's log shows the cause",
                )
            # The last worker that looked into this folder may have created it again.
            shutil.rmtree(path / WORK_NAME, ignore_errors=True)
            digests[port], with_lineage[port] = _digests(path)
        record = {
            "step": step,
            "digests": digests,
            "whole": with_lineage,
            "seconds": seconds,
            "warnings": list(warnings),
        }
        write_file(attempt / RECORD_NAME, json.dumps(record, indent=1).encode())
        final = self.folder / key
        shutil.rmtree(final, ignore_errors=True)
        attempt.rename(final)
        return _stored({port: final / port for port in digests}, record)

    def discard(self, attempt: Path, keep_work: bool) -> None:
        """Remove a failed attempt, unless it kept work for the next attempt at the same key."""
        if not keep_work or not any(_kept_work(attempt)):
            shutil.rmtree(attempt, ignore_errors=True)


def _stored(outputs: Mapping[str, Path], record: Mapping[str, Any]) -> Stored:
    # Records of earlier releases have no warnings.
    warnings = tuple(map(str, record.get("warnings", ())))
    return Stored(outputs, record["digests"], record["seconds"], warnings)


def _kept_work(attempt: Path) -> Iterator[Path]:
    """Yield the folders of finished parts that an attempt left behind."""
    for work in attempt.glob(f"*/{WORK_NAME}/*"):
        if work.name != WORKERS_NAME and any(work.iterdir()):
            yield work
