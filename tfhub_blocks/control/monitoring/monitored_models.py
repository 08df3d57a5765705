"""Models and their monitorings in the archive of local runs."""

# decision 93

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tfhub_blocks.control.lineage.run_archive import Archive
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import Lineage, read_lineage
from tfhub_blocks.records.formats.drift_records import (
    MONITORING,
    RECORD_NAME,
    DriftRecord,
    read_drift,
)
from tfhub_blocks.records.formats.predictions import FORMAT as PREDICTIONS

WHERE = "monitor"
FEATURES_PORT, SNAPSHOT_PORT, CURRENT_PORT = "features", "snapshot", "current"


@dataclass(frozen=True)
class Monitored:
    """A finished monitoring: its folder and its record."""

    folder: Path
    record: DriftRecord


def training_outputs(model: Path, archive: Archive) -> dict[str, Path]:
    """Return the features of a model's training run, and the snapshot if the archive has it.

    Raises:
        BlocksError: The lineage of the model names no features, or the archive lacks them.
    """
    material = read_lineage(model).material(FEATURES_PORT)
    features = archive.find(material) if material else None
    if features is None or features.lineage is None:
        raise BlocksError(
            WHERE,
            str(model),
            "the features that the model was trained on are not in the directory of the runs"
            if material
            else "the lineage of the model names no features",
            "a model of train_head, with its features",
            "Pass the directory of the training run with --runs-dir"
            if material
            else "Pass a model of train_head",
        )
    found = {FEATURES_PORT: features.path}
    origin = features.lineage.material(SNAPSHOT_PORT)
    if origin and (snapshot := archive.find(origin)):
        found[SNAPSHOT_PORT] = snapshot.path
    return found


def monitorings(archive: Archive) -> Iterator[Monitored]:
    """Yield the monitorings in the archive.

    Raises:
        BlocksError: A record was edited.
    """
    for output in archive.outputs.values():
        if output.lineage and output.lineage.format == str(MONITORING):
            yield Monitored(output.path, read_drift(output.path / RECORD_NAME, WHERE))


def last_monitoring(archive: Archive, model_digest: str) -> Monitored | None:
    """Return the monitoring of a model with the most looks, the latest of equal ones."""
    found = [it for it in monitorings(archive) if it.record.model_digest == model_digest]
    return max(found, key=_order, default=None)


def last_monitorings(archive: Archive) -> list[Monitored]:
    """Return the last monitoring of each model, those with an alarm first."""
    last: dict[str, Monitored] = {}
    for it in monitorings(archive):
        digest = it.record.model_digest
        if digest not in last or _order(it) > _order(last[digest]):
            last[digest] = it
    return sorted(last.values(), key=lambda it: (not it.record.reasons, _order(it)))


def _order(monitored: Monitored) -> tuple[int, str]:
    looks = monitored.record.looks
    return len(looks), looks[-1].time


def earlier_predictions(monitored: Monitored | None, archive: Archive) -> Path | None:
    """Return the predictions of a monitoring's items, whose contents need no second answer."""
    if monitored is None:
        return None
    lineage: Lineage = read_lineage(monitored.folder)
    material = lineage.material(CURRENT_PORT)
    found = archive.find(material) if material else None
    if found is None or found.lineage is None or found.lineage.format != str(PREDICTIONS):
        return None
    return found.path
