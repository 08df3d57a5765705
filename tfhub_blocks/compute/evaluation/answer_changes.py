"""The items that the models of two runs answer differently, and how their metrics differ."""

# decision 115

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfhub_blocks.compute.evaluation.classification_metrics import differences
from tfhub_blocks.compute.evaluation.evaluation_report import FORMAT
from tfhub_blocks.compute.evaluation.stored_answers import ANSWERS_NAME, read_answers
from tfhub_blocks.compute.heads.interval_estimates import IntervalEstimate
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.modalities.modality import Shown
from tfhub_blocks.records.base.folders import open_folder
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.base.templates import render, shared_style
from tfhub_blocks.records.formats.models import MODEL, open_model
from tfhub_blocks.records.formats.snapshots import SNAPSHOT, Snapshot, open_snapshot

_WHERE = "compare"
_MOST_LINES = 12
_MOST_SHOWN = 60


@dataclass(frozen=True)
class EvaluatedRun:
    """The outputs of a run that evaluated a model."""

    name: str
    report: Path
    model: Path
    snapshot: Path


@dataclass(frozen=True)
class ChangedItem:
    """An item whose answer differs between two runs."""

    id: str
    path: str
    label: str
    first: str
    second: str
    shown: Shown | None = None

    @property
    def verdict(self) -> str:
        """``fixed`` if the second run is right, ``broken`` if the first one is, else ``other``."""
        if self.second == self.label:
            return "fixed"
        return "broken" if self.first == self.label else "other"


@dataclass(frozen=True)
class AnswerChanges:
    """The differences of two runs on the test items that both answered.

    ``estimates`` contains the second run's value minus the first one's, by measure.
    """

    runs: tuple[str, str]
    items: int
    estimates: Mapping[str, IntervalEstimate]
    changed: Sequence[ChangedItem]

    def lines(self) -> Iterator[str]:
        """Yield the differences as lines of text."""
        counts = {it: sum(each.verdict == it for each in self.changed) for it in _VERDICTS}
        yield f"{self.items} test items in both runs; {len(self.changed)} answers changed: " + (
            ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        )
        for name, by in self.estimates.items():
            yield f"  {name:<28} {by.value:+.4f} [{by.low:+.4f}, {by.high:+.4f}]"
        for it in self.changed[:_MOST_LINES]:
            yield f"  {it.verdict:<6} {it.label}: {it.first} -> {it.second}  {it.path or it.id}"
        if len(self.changed) > _MOST_LINES:
            yield f"  and {len(self.changed) - _MOST_LINES} more"

    def page(self, rows: Sequence[tuple[str, str, str, str]]) -> str:
        """Return a page with the values of both runs and the changed items with their pictures.

        Args:
            rows: Kind, name, and the value of each run.
        """
        shown = self.changed[:_MOST_SHOWN]
        return render(__file__, style=shared_style(), found=self, rows=rows, shown=shown)


_VERDICTS = ("fixed", "broken", "other")


def evaluated_run(name: str, outputs: Mapping[str, Path]) -> EvaluatedRun | None:
    """Return the outputs of a run that evaluated a model, or None if it did not."""
    kinds = {}
    for path in outputs.values():
        if (path / STATEMENT_NAME).is_file():
            kinds[read_lineage(path).format.partition("/")[0]] = path
    found = [kinds.get(it.kind) for it in (FORMAT, MODEL, SNAPSHOT)]
    report, model, snapshot = found
    if report is None or model is None or snapshot is None:
        return None
    return EvaluatedRun(name, report, model, snapshot)


def answer_changes(first: EvaluatedRun, second: EvaluatedRun) -> AnswerChanges | None:
    """Compare the answers of two runs item by item; None if they share no item or other labels.

    Raises:
        BlocksError: A file of an output was changed.
    """
    labels, others = (open_model(it.model, _WHERE)[1]["labels"] for it in (first, second))
    answers, other_answers = (_answers(it) for it in (first, second))
    data = open_snapshot(second.snapshot, _WHERE)
    index = data.index()
    truth = dict(zip(index["id"].to_pylist(), index["label"].to_pylist(), strict=True))
    ids = sorted(answers.keys() & other_answers.keys() & truth.keys())
    if not ids or sorted(labels) != sorted(others) or {truth[it] for it in ids} - set(labels):
        return None
    order = [others.index(label) for label in labels]
    before = np.stack([answers[it] for it in ids])
    after = np.stack([other_answers[it] for it in ids])[:, order]
    targets = np.array([labels.index(truth[it]) for it in ids])
    estimates = differences(after, before, targets, labels)
    first_picks, second_picks = before.argmax(axis=1), after.argmax(axis=1)
    chosen = np.flatnonzero(first_picks != second_picks)
    places = data.places([ids[row] for row in chosen])
    changed = [
        ChangedItem(
            ids[row],
            places.get(ids[row], [""])[0],
            truth[ids[row]],
            labels[first_picks[row]],
            labels[second_picks[row]],
        )
        for row in chosen
    ]
    changed.sort(key=lambda it: (it.verdict != "broken", it.verdict, it.label, it.id))
    return AnswerChanges((first.name, second.name), len(ids), estimates, _with_looks(changed, data))


def _answers(run: EvaluatedRun) -> dict[str, np.ndarray]:
    return read_answers(open_folder(run.report, FORMAT, _WHERE).file(ANSWERS_NAME))


def _with_looks(changed: Sequence[ChangedItem], data: Snapshot) -> list[ChangedItem]:
    """Return the items, those of the page with their looks."""
    wanted = {it.id for it in changed[:_MOST_SHOWN]}
    ids = data.index()["id"].to_pylist()
    rows = np.array([number for number, it in enumerate(ids) if it in wanted], np.int64)
    kind = MODALITIES[data.manifest.modality]
    looks = {item: kind.shown(content) for item, content in data.contents(rows)}
    return [
        ChangedItem(it.id, it.path, it.label, it.first, it.second, looks.get(it.id))
        for it in changed
    ]
