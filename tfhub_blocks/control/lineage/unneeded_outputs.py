"""The outputs and runs of a folder ``.runs`` that nothing refers to any more."""

# decision 115

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tfhub_blocks.control.lineage.lineage_targets import chain_of_model
from tfhub_blocks.control.lineage.local_registrations import registered
from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.control.project.output_store import Store
from tfhub_blocks.control.project.run_listing import read_tags
from tfhub_blocks.control.project.run_records import FINAL, RunRecord, began, past_runs
from tfhub_blocks.records.base.errors import BlocksError

_WHERE = "runs gc"
_RUNS, _STORE = "runs", "store"


@dataclass(frozen=True)
class Unneeded:
    """Folders that may be deleted, and the bytes that this frees.

    Runs contain their outputs as links to the store, so the bytes of a file count only if every
    link to the file goes.
    """

    runs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    freed_bytes: int

    def delete(self, runs_dir: Path) -> None:
        """Delete the folders. A killed deletion leaves complete outputs or none."""
        for path in self.runs:
            (path / "run.json").unlink(missing_ok=True)  # a run without a record is no run
            shutil.rmtree(path, ignore_errors=True)
        store = Store(runs_dir / _STORE)
        for path in self.outputs:
            with store.locked(path.name.partition(".")[0]):
                gone = path.with_name(f"{path.name}.deleted")
                path.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)


def find_unneeded(runs_dir: Path, before: datetime | None = None) -> Unneeded:
    """Return what nothing refers to: no run, and no registered model or its lineage.

    Args:
        runs_dir: The folder ``.runs``.
        before: Runs that started before this time count as unneeded too, unless they have a tag,
            or a registered model needs them.

    Raises:
        BlocksError: A run goes on, whose outputs are not all recorded yet.
    """
    found = [it for it in past_runs(runs_dir) if it[0].parent.name == _RUNS]
    for _, record in found:
        if record.status not in FINAL:
            raise BlocksError(
                _WHERE,
                record.run,
                f"run {record.run} goes on, and uses outputs that its record does not name yet",
                "",
                f"Wait until `tfhub-blocks status {record.run}` shows its end",
            )
    keys, needed = _of_models(runs_dir)
    old = [
        (folder, record)
        for folder, record in found
        if before is not None
        and began(record.started) < before
        and record.run not in needed
        and not read_tags(folder)
    ]
    gone = {folder for folder, _ in old}
    keys |= {key for folder, record in found if folder not in gone for key in _keys(record)}
    outputs = [
        path
        for path in sorted((runs_dir / _STORE).glob("*"))
        if path.is_dir() and path.name.partition(".")[0] not in keys
    ]
    folders = [folder for folder, _ in old]
    return Unneeded(tuple(folders), tuple(outputs), _freed_bytes([*folders, *outputs]))


def _of_models(runs_dir: Path) -> tuple[set[str], set[str]]:
    """Return the keys and the runs that the registered models and their lineage need."""
    archive = Archive(runs_dir)
    keys: set[str] = set()
    runs: set[str] = set()
    for version in registered(runs_dir):
        for knot in chain_of_model(version, archive).knots.values():
            keys |= {knot.output.key} - {""}
            wrote = [place for place in knot.places if not place.step.reused]
            for place in wrote or knot.places[:1]:
                runs.add(place.run.run)
                keys |= set(_keys(place.run))
    return keys, runs


def _keys(record: RunRecord) -> Iterator[str]:
    for step in record.steps.values():
        for path in step.outputs.values():
            yield Path(path).parent.name


def _freed_bytes(folders: Iterable[Path]) -> int:
    links: dict[tuple[int, int], int] = {}
    freed = 0
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                stat = os.lstat(Path(parent) / name)
                identity = (stat.st_dev, stat.st_ino)
                links[identity] = links.get(identity, 0) + 1
                if links[identity] == stat.st_nlink:
                    freed += stat.st_size
    return freed
