"""The step monitor_drift: a look at new items of a model, its record, and its report."""

# decision 93

import csv
import hashlib
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tfhub_blocks.compute.data.item_tables import is_table, open_table
from tfhub_blocks.compute.evaluation.evaluation_report import ReportFigure
from tfhub_blocks.compute.heads.linear_head import Head
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Shown
from tfhub_blocks.compute.models.model_writing import read_head
from tfhub_blocks.compute.monitoring import monitoring_figures
from tfhub_blocks.compute.monitoring.accuracy_estimates import (
    Reference,
    estimate_accuracy,
    self_test,
)
from tfhub_blocks.compute.monitoring.drift_map import WHERE, fit_drift_map
from tfhub_blocks.compute.monitoring.labelled_sample import (
    LabelRequest,
    MeasuredAccuracy,
    measure_accuracy,
    request_labels,
)
from tfhub_blocks.compute.monitoring.monitored_items import (
    Items,
    check_model,
    held_out,
    new_items,
    open_current,
    open_history,
    training,
    write_history,
)
from tfhub_blocks.compute.monitoring.monitoring_report import (
    MonitoringPage,
    Neighbour,
    render_monitoring,
)
from tfhub_blocks.compute.monitoring.moved_items import class_shares, holm, nearest
from tfhub_blocks.compute.monitoring.repeated_looks import bet
from tfhub_blocks.compute.monitoring.shift_tests import compare_groups
from tfhub_blocks.compute.step.step_frame import StepRun
from tfhub_blocks.compute.step.tracking import track
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME
from tfhub_blocks.records.formats.drift_records import (
    LABELS_NAME,
    MONITORING,
    RECORD_NAME,
    DriftRecord,
    Look,
)
from tfhub_blocks.records.formats.features import open_features
from tfhub_blocks.records.formats.models import open_model
from tfhub_blocks.records.formats.snapshots import open_snapshot
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

SHOWN, MOST_TRAINING = 8, 5000
SLICE_ITEMS, MOST_SLICES, SLICE_PERMUTATIONS = 10, 20, 499


@dataclass(frozen=True)
class MonitoringOptions:
    """The options of a monitoring.

    ``alarm_level`` is the chance of a false alarm over all looks. ``least_accuracy`` raises an
    alarm too: if the measured accuracy is below it, or without labels every estimate.
    """

    alarm_level: float = 0.05
    least_accuracy: float | None = None
    labels_wanted: int = 60


@dataclass(frozen=True, eq=False)
class Compared:
    """The groups of one look on the axes and as numbers: training, pool and new items."""

    train: Items
    pool_scores: NDArray[np.float32]
    new: Items
    train_axes: NDArray[np.float32]
    reference_axes: NDArray[np.float32]
    new_axes: NDArray[np.float32]
    pool: NDArray[np.float32]
    numbers: NDArray[np.float32]
    blocks: Mapping[str, slice]


def run_monitoring(
    run: StepRun,
    earlier: Path | None,
    labels: Path | None,
    snapshot: Path | None,
    items: Path | None,
    options: MonitoringOptions,
) -> None:
    """Write the record, the report and the items to label of one look.

    Args:
        run: The step's run, with the inputs ``model``, ``features`` and ``current``.
        earlier: The last monitoring of the model.
        labels: A table of ids and labels of items that this step asked to label.
        snapshot: The training data, to show its items.
        items: The data of the new items, to show them.
        options: The levels.

    Raises:
        BlocksError: An input is not of its kind, belongs to another model or encoder, or contains
            too few new items.
    """
    model, metadata = open_model(run.path("model"), WHERE)
    features = open_features(run.path("features"), WHERE)
    check_model(model, features, metadata)
    head = read_head(model, metadata)
    held, targets = held_out(features, head)
    train = training(features, head)
    history = open_history(earlier, model.digest)
    found, time = open_current(run.path("current"), model, features, head)
    known = {*held.ids, *train.ids}
    new, history, digest, time = new_items(found, known, history, time)
    random = _random(model.digest, digest, str(len(history.looks)))

    used = history.map or fit_drift_map(train.vectors, train.scores)
    held_axes, new_axes = used.whitened(held.vectors), used.whitened(new.vectors)
    pool_axes = np.concatenate([held_axes, history.whitened]) if history.looks else held_axes
    pool_scores = np.concatenate([held.scores, history.scores]) if history.looks else held.scores
    pool, numbers = used.numbers(pool_axes, pool_scores), used.numbers(new_axes, new.scores)
    comparison = compare_groups(pool, numbers, used.blocks, random)
    wealth = (history.looks[-1].wealth if history.looks else 1.0) * bet(comparison.uniform_p)
    looks = (*history.looks, Look(digest, len(new), time, comparison.uniform_p, wealth))

    reference = Reference(held.scores, targets)
    errors = self_test(held.vectors, targets, head.probabilities, random, len(new))
    estimates = estimate_accuracy(reference, new.scores, random, errors)
    request = request_labels(new.scores, options.labels_wanted, random)
    measured = _measured(labels, new, head, request) if labels else None
    few = np.linspace(0, len(train) - 1, min(len(train), MOST_TRAINING)).astype(np.int64)
    compared = Compared(
        train.take(few),
        pool_scores,
        new,
        used.whitened(train.vectors[few]),
        held_axes,
        new_axes,
        pool,
        numbers,
        used.blocks,
    )
    shift = asdict(comparison)
    shift["detectable"] = shift["detectable"] if math.isfinite(shift["detectable"]) else None
    record = DriftRecord(
        model_digest=model.digest,
        digests={
            "features": features.folder.digest,
            "encoder": features.manifest.encoder_digest,
            "training_snapshot": features.manifest.snapshot_digest,
            "code": run.provenance.code_digest,
            "environment": run.provenance.environment_digest,
        },
        looks=looks,
        shift=shift,
        accuracy=tuple(asdict(each) for each in estimates),
        reference_accuracy=float(reference.right.mean()),
        measured=asdict(measured) if measured else None,
        classes=tuple(asdict(each) for each in class_shares(new.scores, held.scores, head.labels)),
        slices=_slices(compared, head, random),
        reasons=_reasons(looks, [each.value for each in estimates], measured, options),
        alarm_level=options.alarm_level,
        left_out=len(found) - len(new),
    )
    folder = run.begin_output("monitoring", MONITORING)
    modality = read_pin(model.path / PIN_NAME).modality
    page = _page(run, record, compared, _Pictures(snapshot, items, modality), len(request.rows))
    record.write(folder / RECORD_NAME)
    (folder / "report.html").write_text(render_monitoring(page), encoding="utf-8")
    _write_request(folder / LABELS_NAME, new, head, request)
    write_history(folder, history, new, new_axes, used)
    run.facts.update(verdict=record.verdict, items=len(new), looks=len(looks), wealth=wealth)
    values = {"p": comparison.p, "highest_wealth": record.highest_wealth}
    values |= {f"estimated_accuracy_{each.method}": each.value for each in estimates}
    if measured:
        values["measured_accuracy"] = measured.value
    series = {"wealth": [look.wealth for look in looks]}
    track("monitor_drift", values, {"model_digest": model.digest}, folder, series)
    print(*record.lines(), sep="\n")


def _random(*digests: str) -> np.random.Generator:
    """Return a generator whose seed follows from the model, the items and the number of the look.

    Repeating a look gives the same result, and the same items to label.
    """
    return np.random.default_rng(
        int.from_bytes(hashlib.sha256("\0".join(digests).encode()).digest()[:8], "big")
    )


def _reasons(
    looks: tuple[Look, ...],
    estimates: list[float],
    measured: MeasuredAccuracy | None,
    options: MonitoringOptions,
) -> tuple[str, ...]:
    found, limit = [], 1 / options.alarm_level
    number, highest = max(enumerate(looks, 1), key=lambda pair: pair[1].wealth)
    if highest.wealth >= limit:
        found.append(
            f"The items have moved: the wealth was {highest.wealth:.3g} after look {number}, and "
            f"reaches {limit:g} with a chance of at most {options.alarm_level:g} if they have not."
        )
    least = options.least_accuracy
    if least is not None and measured and measured.high < least:
        found.append(
            f"The accuracy is too low: {measured.value:.4f} ({measured.low:.4f} to "
            f"{measured.high:.4f}) with {measured.labels} labels, and {least:g} is required."
        )
    elif least is not None and not measured and max(estimates) < least:
        found.append(
            f"The accuracy is probably too low: every estimate is below {least:g}, and the highest "
            f"is {max(estimates):.4f}. Labels can confirm it."
        )
    return tuple(found)


def _slices(compared: Compared, head: Head, random: np.random.Generator) -> dict[str, float]:
    """Return the corrected p-value of each slice: by answered class, and by the first folder."""
    answers, before = compared.new.scores.argmax(axis=1), compared.pool_scores.argmax(axis=1)
    groups: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
    for number, label in enumerate(head.labels):
        groups[f"answer {label}"] = (
            np.flatnonzero(before == number),
            np.flatnonzero(answers == number),
        )
    folders = [path.partition("/")[0] if "/" in path else "" for path in compared.new.paths]
    if len(counted := Counter(folders)) > 1:
        everything = np.arange(len(compared.pool))
        for name in counted:
            rows = np.flatnonzero([folder == name for folder in folders])
            groups[f"folder {name or '.'}"] = (everything, rows)
    large = [name for name, pair in groups.items() if min(map(len, pair)) >= SLICE_ITEMS]
    large.sort(key=lambda name: (-len(groups[name][1]), name))
    return holm(
        {
            name: compare_groups(
                compared.pool[groups[name][0]],
                compared.numbers[groups[name][1]],
                compared.blocks,
                random,
                SLICE_PERMUTATIONS,
            ).p
            for name in large[:MOST_SLICES]
        }
    )


def _measured(path: Path, new: Items, head: Head, request: LabelRequest) -> MeasuredAccuracy | None:
    """Return the accuracy that a table of labels shows; None if the table has no label yet."""
    asked = [new.ids[row] for row in request.rows.tolist()]
    labels = _read_labels(path)
    unknown = sorted(labels.keys() - set(asked))
    done = next((n for n, item in enumerate(asked) if item not in labels), len(asked))
    if unknown or done < len(labels):
        raise BlocksError(
            WHERE,
            "labels",
            f"item {unknown[0]} was not asked for"
            if unknown
            else f"item {asked[done]}, number {done + 1} of the list, has no label, but a later "
            "item has one",
            f"labels of the first items of {LABELS_NAME}, in any number",
            "Label the list from its top: a chosen sample would be biased",
        )
    if not labels:
        return None
    some = request.first(done)
    answers = new.scores.argmax(axis=1)
    right = [head.labels[answers[row]] == labels[new.ids[row]] for row in some.rows.tolist()]
    return measure_accuracy(new.scores, some, right)


def _read_labels(path: Path) -> dict[str, str]:
    """Return the labels of a table by id; rows without a label are left out."""
    columns = open_table(path).columns if is_table(path) else ()
    if lacking := [name for name in ("id", "label") if name not in columns]:
        raise BlocksError(
            WHERE,
            "labels",
            f"{path.name} lacks the column {lacking[0]}",
            "a .csv, .jsonl or .parquet file with the columns id and label",
            f"Fill the column label of {LABELS_NAME}, and pass that file",
        )
    rows = open_table(path).read(["id", "label"])
    named = ((str(item), str(label or "").strip()) for item, label in rows)
    return {item: label for item, label in named if label}


def _write_request(path: Path, new: Items, head: Head, request: LabelRequest) -> None:
    answers = new.scores.argmax(axis=1)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "path", "answer", "chance", "label"])
        for row, chance in zip(request.rows.tolist(), request.chances.tolist(), strict=True):
            answer = head.labels[answers[row]]
            writer.writerow([new.ids[row], new.paths[row], answer, f"{chance:.6g}", ""])


class _Pictures:
    """The contents of training and new items, as far as their data are at hand."""

    def __init__(self, snapshot: Path | None, items: Path | None, modality: str) -> None:
        self._snapshot, self._items, self._modality = snapshot, items, modality

    def training(self, ids: list[str]) -> dict[str, Shown]:
        """Return training items by id."""
        return self._of_snapshot(self._snapshot, ids)

    def new(self, ids: list[str], paths: list[str]) -> dict[str, Shown]:
        """Return new items by id; files of a folder are checked against the id."""
        if self._items is None or (self._items / STATEMENT_NAME).is_file():
            return self._of_snapshot(self._items, ids)
        found = {}
        for item, path in zip(ids, paths, strict=True):
            place = (self._items / path).resolve()
            if not place.is_relative_to(self._items.resolve()) or not place.is_file():
                continue
            content = place.read_bytes()
            if hashlib.sha256(content).hexdigest() == item:
                found[item] = MODALITIES[self._modality].shown(content)
        return found

    def _of_snapshot(self, path: Path | None, ids: list[str]) -> dict[str, Shown]:
        if path is None:
            return {}
        found: dict[str, Shown] = {}
        wanted = pa.array(ids, pa.string())
        for batch in open_snapshot(path, WHERE).batches(["id", "content"]):
            chosen = batch.filter(pc.is_in(batch["id"], wanted))
            for item, content in zip(
                chosen["id"].to_pylist(), chosen["content"].to_pylist(), strict=True
            ):
                found[item] = MODALITIES[self._modality].shown(content)
        return found


def _page(
    run: StepRun, record: DriftRecord, compared: Compared, pictures: _Pictures, to_label: int
) -> MonitoringPage:
    new, train = compared.new, compared.train
    usual = np.sort(nearest(compared.reference_axes, compared.train_axes).distances)
    near = nearest(compared.new_axes, compared.train_axes)
    novel = np.argsort(-near.distances, kind="stable")[:SHOWN]

    # A training item is gone if it is farther from the new items than from as many held-out items.
    count = min(len(compared.new_axes), len(compared.reference_axes))
    back = nearest(compared.train_axes, compared.new_axes[:count])
    before = nearest(compared.train_axes, compared.reference_axes[:count])
    gone = np.argsort(before.distances - back.distances, kind="stable")[:SHOWN]

    rows = {*novel.tolist(), *back.rows[gone].tolist()}
    of_new = pictures.new([new.ids[row] for row in rows], [new.paths[row] for row in rows])
    of_train = pictures.training(
        [train.ids[row] for row in (*near.rows[novel].tolist(), *gone.tolist())]
    )

    def rarity(distance: float) -> float:
        return float(1 - np.searchsorted(usual, distance, "left") / len(usual))

    def neighbour(row: int, other: int, distance: float, is_new: bool) -> Neighbour:
        recent, old = (row, other) if is_new else (other, row)
        named = (new.paths[recent] or new.ids[recent], of_new.get(new.ids[recent]))
        known = (train.ids[old], of_train.get(train.ids[old]))
        pair = (*named, *known) if is_new else (*known, *named)
        return Neighbour(*pair, distance, rarity(distance))

    wealth = [look.wealth for look in record.looks]
    moved = max(record.classes, key=lambda it: abs(it["share"] - it["reference_share"]))
    return MonitoringPage(
        record,
        [
            ReportFigure(
                "Wealth",
                monitoring_figures.wealth_png(wealth, 1 / record.alarm_level),
                f"The wealth is {wealth[-1]:.3g} after {len(wealth)} looks",
            ),
            ReportFigure(
                "Shares of answers",
                monitoring_figures.classes_png(record.classes),
                f"The largest change is {moved['label']}, from {moved['reference_share']:.3f} to "
                f"{moved['share']:.3f}",
            ),
        ],
        [
            neighbour(row, int(near.rows[row]), float(near.distances[row]), True)
            for row in novel.tolist()
        ],
        [
            neighbour(row, int(back.rows[row]), float(back.distances[row]), False)
            for row in gone.tolist()
        ],
        to_label,
        [
            ("Model", record.model_digest),
            *((name.replace("_", " ").capitalize(), it) for name, it in record.digests.items()),
            ("Items", record.looks[-1].items_digest),
            ("Items left out as not new", str(record.left_out)),
            *((name, str(value)) for name, value in run.provenance.parameters.items()),
        ],
    )
