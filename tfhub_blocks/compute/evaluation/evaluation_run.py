"""An evaluation: the model's answers on a split, their metrics, plots, and thresholds."""

# decisions 51 and 79

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tfhub_blocks.compute.evaluation import evaluation_figures
from tfhub_blocks.compute.evaluation.classification_metrics import (
    ClassificationMetrics,
    most_confident_mistakes,
    precision_recall_curves,
)
from tfhub_blocks.compute.evaluation.evaluation_report import (
    Against,
    AgainstRow,
    ClassRow,
    EvaluationPage,
    MetricRow,
    Mistake,
    ReportFigure,
    ThresholdResult,
    render_report,
)
from tfhub_blocks.compute.evaluation.stored_answers import write_answers
from tfhub_blocks.compute.heads.interval_estimates import IntervalEstimate
from tfhub_blocks.compute.modalities.modality import Shown
from tfhub_blocks.compute.tf.pyfunc_loading import load_pyfunc
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.champion_comparison import MIN_GAIN, ChampionComparison
from tfhub_blocks.records.formats.evidence import Threshold
from tfhub_blocks.records.formats.gate_floors import (
    DEFAULT_CLASS_TEST_ITEMS,
    DEFAULT_TEST_ITEMS,
    MIN_CLASS_TEST_ITEMS,
    MIN_TEST_ITEMS,
)
from tfhub_blocks.records.formats.snapshots import Snapshot

WHERE = "evaluate"
BATCH_SIZE = 64

TITLES = {
    "accuracy": ("Accuracy", "Fraction of items with a right prediction"),
    "balanced_accuracy": ("Balanced accuracy", "Mean recall of the classes"),
    "macro_f1": ("Macro F1", "Mean F1 of the classes"),
    "log_loss": (
        "Log-loss",
        "Mean negative log-probability of the true class, in nats; lower is better",
    ),
    "expected_calibration_error": (
        "Calibration error",
        "Mean gap between confidence and accuracy over 15 bins; lower is better",
    ),
}
FLOOR_TITLES = {
    MIN_TEST_ITEMS: "Test items",
    MIN_CLASS_TEST_ITEMS: "Test items of the smallest class",
}
BETTER_THAN_MAJORITY = "accuracy_low > majority_share"
BETTER_IF_LESS = frozenset({"log_loss", "expected_calibration_error"})


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of a model on one split: row i belongs to item ``ids[i]``."""

    ids: tuple[str, ...]
    targets: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    labels: tuple[str, ...]
    unanswered: tuple[str, ...] = ()
    """The items for which the model returns numbers that are NaN or infinite: mistakes."""

    def taken(self, kept: NDArray[np.bool_]) -> "Answers":
        """Return the answers of the items where ``kept`` is True."""
        ids = tuple(item for item, is_kept in zip(self.ids, kept, strict=True) if is_kept)
        return Answers(ids, self.targets[kept], self.probabilities[kept], self.labels)


def answer_split(
    model: Path,
    labels: Sequence[str],
    snapshot: Snapshot,
    split: str,
    progress: Callable[[int, int | None], None],
) -> Answers:
    """Return a model's answers on a split of a snapshot, from the program that serves the model.

    Raises:
        BlocksError: The split is empty, or the snapshot has a label that the model lacks.
    """
    unknown = sorted(set(snapshot.manifest.labels) - set(labels))
    total = sum(snapshot.manifest.counts.get(split, {}).values())
    if unknown or not total:
        raise BlocksError(
            WHERE,
            f"snapshot {snapshot.folder.path}",
            f"the model lacks the labels {', '.join(map(repr, unknown))}"
            if unknown
            else f"the {split} split is empty",
            "a snapshot with labels of the model: " + ", ".join(labels)
            if unknown
            else f"one item or more in the {split} split",
            "Pass a snapshot of the kind of data that the model was trained on",
        )
    # The copy must exist until the last answer.
    loaded, _copy = load_pyfunc(model, WHERE)
    # Bypass the signature, which requires texts as str: a snapshot contains bytes.
    scorer = loaded.unwrap_python_model()
    index = {label: number for number, label in enumerate(labels)}
    ids: list[str] = []
    targets: list[int] = []
    rows: list[NDArray[np.float32]] = []
    for batch in snapshot.batches():
        chosen = batch.filter(pc.equal(batch["split"], split))
        for start in range(0, chosen.num_rows, BATCH_SIZE):
            part = chosen.slice(start, BATCH_SIZE)
            items = pd.DataFrame({"contents": part["content"].to_pylist()})
            rows += scorer.predict(None, items)["probabilities"].tolist()
            ids += part["id"].to_pylist()
            targets += [index[label] for label in part["label"].to_pylist()]
            progress(len(ids), total)
    return finite_answers(tuple(ids), np.array(targets), np.array(rows, np.float32), labels)


def finite_answers(
    ids: tuple[str, ...],
    targets: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
) -> Answers:
    """Return answers in which an item without a finite answer is answered wrongly."""
    rows = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    probabilities[rows] = 1 / max(len(labels) - 1, 1)
    probabilities[rows, targets[rows]] = 0
    unanswered = tuple(ids[row] for row in rows)
    return Answers(ids, targets, probabilities, tuple(labels), unanswered)


def hold_thresholds(
    metrics: ClassificationMetrics | None,
    asked: Mapping[str, float | None],
    comparison: ChampionComparison | None = None,
    min_gain: float | None = None,
    min_test_items: int = DEFAULT_TEST_ITEMS,
    min_class_test_items: int = DEFAULT_CLASS_TEST_ITEMS,
) -> tuple[Threshold, ...]:
    """Check metrics against each required bound (``min_accuracy``, ``max_log_loss``).

    A further threshold always applies: the lower end of the accuracy's interval is above the
    fraction of the majority class. Otherwise the model may be no better than always predicting the
    most frequent class. A required gain over the champion is also compared with the lower end of
    its interval, because the accuracy of the model in production is known.

    Too few test items, in all or of a class, are a missed threshold as well. Without metrics, no
    test item is left to judge by.
    """
    if metrics is None:
        return (Threshold(MIN_TEST_ITEMS, max(min_test_items, 1), 0, False),)
    fewest = min(each.support for each in metrics.classes)
    thresholds = [
        Threshold(MIN_TEST_ITEMS, min_test_items, metrics.items, metrics.items >= min_test_items),
        Threshold(
            MIN_CLASS_TEST_ITEMS, min_class_test_items, fewest, fewest >= min_class_test_items
        ),
        Threshold(
            BETTER_THAN_MAJORITY,
            metrics.majority_share,
            metrics.accuracy.low,
            metrics.accuracy.low > metrics.majority_share,
        ),
    ]
    for name, bound in asked.items():
        if bound is not None:
            kind, _, measure_name = name.partition("_")
            value = getattr(metrics, measure_name).value
            met = value >= bound if kind == "min" else value <= bound
            thresholds.append(Threshold(name, bound, value, met))
    if comparison and min_gain is not None:
        low = comparison.changes["accuracy"]["low"]
        thresholds.append(Threshold(MIN_GAIN, min_gain, low, low >= min_gain))
    return tuple(thresholds)


def write_report(
    folder: Path,
    answers: Answers,
    metrics: ClassificationMetrics,
    thresholds: Sequence[Threshold],
    snapshot: Snapshot,
    facts: Sequence[tuple[str, str]],
    mistakes: int,
    seen: Callable[[bytes], Shown],
    comparison: ChampionComparison | None = None,
    judged: ClassificationMetrics | None = None,
    warnings: Sequence[str] = (),
) -> None:
    """Write ``metrics.json``, answers, plots as PNG, and a self-contained ``report.html``.

    ``seen`` returns an item as the encoder gets it.
    """
    write_answers(folder, answers.ids, answers.probabilities)
    drawn = _figures(answers, metrics)
    for figure in drawn:
        (folder / f"{_file_name(figure.title)}.png").write_bytes(figure.png)
    without = {"without_twins": judged.as_dict()} if judged and judged is not metrics else {}
    record = (
        metrics.as_dict() | without | ({"comparison": comparison.as_dict()} if comparison else {})
    )
    (folder / "metrics.json").write_text(
        json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    report = EvaluationPage(
        title="Evaluation",
        summary=f"{metrics.items} items of the test split, {len(answers.labels)} classes.",
        thresholds=[_threshold_result(threshold) for threshold in thresholds],
        metrics=[
            *(_metric_row(metrics, name) for name in TITLES),
            *_row_without_twins(metrics, judged),
            MetricRow(
                "Majority class",
                metrics.majority_share,
                None,
                "Accuracy of always predicting the most frequent class",
            ),
        ],
        classes=[
            ClassRow(
                each.label,
                each.support,
                *_value_and_interval(each.precision),
                *_value_and_interval(each.recall),
                each.average_precision,
            )
            for each in metrics.classes
        ],
        figures=drawn,
        mistakes=_mistakes(answers, snapshot, mistakes, seen),
        facts=facts,
        notes=[*filter(None, [snapshot.manifest.attribution]), *warnings],
        against=_against(metrics, comparison) if comparison else None,
    )
    (folder / "report.html").write_text(render_report(report), encoding="utf-8")


def summary_values(
    metrics: ClassificationMetrics, comparison: ChampionComparison | None = None
) -> dict[str, float]:
    """Return each measure and the ends of its interval, by a name that MLflow accepts.

    The names of differences from the champion end in ``_change``.
    """
    values: dict[str, float] = {}
    changes = comparison.changes if comparison else {}
    estimates = metrics.summary() | {f"{name}_change": it for name, it in changes.items()}
    for name, estimate in estimates.items():
        values |= {
            name: estimate["value"],
            f"{name}_low": estimate["low"],
            f"{name}_high": estimate["high"],
        }
    return values | {"majority_share": metrics.majority_share}


def _figures(answers: Answers, metrics: ClassificationMetrics) -> list[ReportFigure]:
    bins = metrics.reliability
    curves = precision_recall_curves(answers.probabilities, answers.targets, answers.labels)
    return [
        ReportFigure(
            "Confusion matrix",
            evaluation_figures.confusion_matrix_png(np.array(metrics.confusion), answers.labels),
            f"Rows are true classes, columns are predictions; {_most_frequent(answers, metrics)}",
        ),
        ReportFigure(
            "Reliability",
            evaluation_figures.reliability_png(
                [bins[0].low, *(each.high for each in bins)],
                [each.count for each in bins],
                [each.confidence for each in bins],
                [each.accuracy for each in bins],
                metrics.expected_calibration_error.value,
            ),
            "Accuracy against confidence; calibration error "
            f"{metrics.expected_calibration_error.value:.3f}",
        ),
        ReportFigure(
            "Precision and recall",
            evaluation_figures.precision_recall_png(
                answers.labels,
                [curve.precision for curve in curves],
                [curve.recall for curve in curves],
                [curve.average_precision for curve in curves],
            ),
            "Average precision: "
            + ", ".join(f"{curve.label} {curve.average_precision:.2f}" for curve in curves),
        ),
    ]


def _most_frequent(answers: Answers, metrics: ClassificationMetrics) -> str:
    matrix = np.array(metrics.confusion)
    np.fill_diagonal(matrix, 0)
    true, predicted = np.unravel_index(matrix.argmax(), matrix.shape)
    if not matrix[true, predicted]:
        return "every prediction is right"
    most = f"{answers.labels[true]} predicted as {answers.labels[predicted]}"
    return f"the most frequent mistake is {most}, {matrix[true, predicted]} times"


def _metric_row(metrics: ClassificationMetrics, name: str) -> MetricRow:
    title, meaning = TITLES[name]
    estimate = getattr(metrics, name)
    return MetricRow(title, estimate.value, (estimate.low, estimate.high), meaning)


def _row_without_twins(
    metrics: ClassificationMetrics, judged: ClassificationMetrics | None
) -> Iterator[MetricRow]:
    if judged is None or judged is metrics:
        return
    accuracy = judged.accuracy
    yield MetricRow(
        "Accuracy without twins",
        accuracy.value,
        (accuracy.low, accuracy.high),
        f"Accuracy on the {judged.items} test items without a near duplicate in training; "
        "thresholds are checked on these items",
    )


def _against(metrics: ClassificationMetrics, comparison: ChampionComparison) -> Against:
    verdict = comparison.told()
    rows = []
    for name, change in comparison.changes.items():
        low, high = change["low"], change["high"]
        if name in BETTER_IF_LESS:
            low, high = -high, -low
        result = "better" if low > 0 else "worse" if high < 0 else "no clear difference"
        rows.append(
            AgainstRow(
                TITLES[name][0],
                getattr(metrics, name).value,
                comparison.metrics[name]["value"],
                change["value"],
                (change["low"], change["high"]),
                result,
            )
        )
    return Against(f"{verdict[0].upper()}{verdict[1:]}.", rows, tuple(comparison.warnings()))


def _value_and_interval(
    estimate: IntervalEstimate | None,
) -> tuple[float | None, tuple[float, float] | None]:
    if estimate is None:
        return None, None
    return estimate.value, (estimate.low, estimate.high)


def _threshold_result(threshold: Threshold) -> ThresholdResult:
    if threshold.name == BETTER_THAN_MAJORITY:
        name, asked = "Accuracy, lower end", f"above the majority class, {threshold.asked:.4g}"
    elif threshold.name in FLOOR_TITLES:
        name, asked = FLOOR_TITLES[threshold.name], f"at least {threshold.asked:g}"
    elif threshold.name == MIN_GAIN:
        name, asked = "Accuracy gain over the champion, lower end", f"at least {threshold.asked:g}"
    else:
        kind, _, measure_name = threshold.name.partition("_")
        name = TITLES[measure_name][0]
        asked = f"at {'least' if kind == 'min' else 'most'} {threshold.asked:g}"
    return ThresholdResult(name, asked, threshold.measured, threshold.met)


def _mistakes(
    answers: Answers, snapshot: Snapshot, count: int, seen: Callable[[bytes], Shown]
) -> list[Mistake]:
    rows = most_confident_mistakes(answers.probabilities, answers.targets, count).tolist()
    contents = _contents(snapshot, [answers.ids[row] for row in rows])
    places = snapshot.places(answers.ids[row] for row in rows)
    found = []
    for row in rows:
        item = answers.ids[row]
        predicted = int(answers.probabilities[row].argmax())
        found.append(
            Mistake(
                places.get(item, [item])[0],
                answers.labels[answers.targets[row]],
                answers.labels[predicted],
                float(answers.probabilities[row, predicted]),
                seen(contents[item]),
            )
        )
    return found


def _contents(snapshot: Snapshot, ids: Sequence[str]) -> dict[str, bytes]:
    wanted = pa.array(ids, pa.string())
    found: dict[str, bytes] = {}
    for batch in snapshot.batches(["id", "content"]):
        chosen = batch.filter(pc.is_in(batch["id"], wanted))
        found |= dict(zip(chosen["id"].to_pylist(), chosen["content"].to_pylist(), strict=True))
    return found


def _file_name(title: str) -> str:
    return title.lower().replace(" ", "-")
