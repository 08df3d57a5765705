"""The step evaluate: the report and the evidence of a model on the test split."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from tfhub_blocks.compute.evaluation.champion import (
    Model,
    check_min_gain,
    check_unseen,
    compare,
    open_champion,
)
from tfhub_blocks.compute.evaluation.classification_metrics import ClassificationMetrics, measure
from tfhub_blocks.compute.evaluation.evaluation_report import FORMAT
from tfhub_blocks.compute.evaluation.evaluation_run import (
    WHERE,
    Answers,
    answer_split,
    hold_thresholds,
    summary_values,
    write_report,
)
from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.step.step_frame import StepRun
from tfhub_blocks.compute.step.tracking import track
from tfhub_blocks.records.base.documents import read_record
from tfhub_blocks.records.formats.champion_comparison import ChampionComparison
from tfhub_blocks.records.formats.evidence import Evidence
from tfhub_blocks.records.formats.gate_floors import named
from tfhub_blocks.records.formats.models import (
    DATA_WARNINGS,
    are_training_items,
    open_model,
    read_feature_twins,
)
from tfhub_blocks.records.formats.snapshots import Snapshot, open_snapshot
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

CHOSEN_FACTS = ("strength", "temperature")


def run_evaluation(
    run: StepRun,
    champion: Path | None,
    bounds: Mapping[str, float | None],
    min_gain: float | None,
    floors: tuple[int, int],
    resamples: int,
    mistakes: int,
    progress: Callable[[str], Callable[[int, int | None], None]],
) -> None:
    """Write the report and the evidence of a model. An unmet threshold does not fail the step.

    Args:
        run: The step's run, with the inputs ``model`` and ``snapshot``.
        champion: The model in production, to compare with.
        bounds: The bound of each measure (``min_accuracy``, ``max_log_loss``), None for no bound.
        min_gain: The lowest accuracy gain over the champion.
        floors: The least numbers of test items, in all and of each class, to meet the thresholds.
        resamples: The number of bootstrap weightings for an interval.
        mistakes: The number of mistakes to show.
        progress: Returns, for a unit, a function to call with the units done and the total.

    Raises:
        BlocksError: An input is not a finished output of its kind, the model cannot answer the
            snapshot, the model learned from a test item, or a gain is required without a champion.
    """
    check_min_gain(min_gain, champion)
    tested, metadata = open_model(run.path("model"), WHERE)
    data = open_snapshot(run.path("snapshot"), WHERE)
    ours = Model(tested, metadata)
    theirs = open_champion(champion, ours) if champion else None
    answers = answer_split(tested.path, metadata["labels"], data, "test", progress("items"))
    check_unseen(ours, answers.ids)
    metrics = measure(answers.probabilities, answers.targets, answers.labels, resamples)
    by_content, by_features = data.twins(), read_feature_twins(tested)
    alike = are_training_items(by_features, answers.ids)
    twins = [item in by_content for item in answers.ids]
    kept = ~(np.array(twins) | alike)
    judged: ClassificationMetrics | None = metrics
    if not kept.all():
        left = answers.taken(kept)
        given = (left.probabilities, left.targets, left.labels, resamples)
        judged = measure(*given) if kept.any() else None
    comparison = None
    if theirs and kept.any():
        shown = progress("items by the champion")
        comparison = compare(ours, theirs, answers, data, resamples, shown, kept)
    untested = tuple(each.label for each in metrics.classes if not each.support)
    summary = metrics.summary()
    if judged is not None and judged is not metrics:
        summary["accuracy_without_twins"] = judged.accuracy.as_dict()
    counted = (sum(twins), int(alike.sum()), int((~kept).sum()), len(kept))
    warnings = tuple(_warnings(data, ours, answers, untested, counted))
    proof = Evidence(
        model_digest=tested.digest,
        digests=_digests(run, ours, data),
        metrics=summary,
        thresholds=hold_thresholds(judged, bounds, comparison, min_gain, *floors),
        comparison=comparison,
        items=metrics.items,
        untested=untested,
        warnings=warnings,
    )
    folder = run.begin_output("report", FORMAT)
    tags = {"model_digest": tested.digest}
    if comparison:
        tags["champion_digest"] = comparison.champion
        print(comparison.told(), *comparison.warnings(), sep="\n")
    run.facts["preparation"] = metadata.get("preprocessing", {}).get("preparation", "1")
    facts = list(_facts(ours, proof, comparison))
    pin = read_pin(tested.path / PIN_NAME)
    seen = read_record(pin.input, MODALITIES[pin.modality], WHERE, "input").seen
    shown_with = (data, facts, mistakes, seen, comparison, judged, warnings)
    write_report(folder, answers, metrics, proof.thresholds, *shown_with)
    track("evaluate", summary_values(metrics, comparison), tags, folder)
    proof.write(run.path("evidence"))
    for warning in warnings:
        run.warn(warning)
    for threshold in proof.thresholds:
        verdict = "met" if threshold.met else "NOT met"
        print(f"{threshold.name} {threshold.asked:.4g}: {threshold.measured:.4g}, {verdict}")


def _warnings(
    data: Snapshot,
    model: Model,
    answers: Answers,
    untested: Sequence[str],
    counted: tuple[int, int, int, int],
) -> Iterator[str]:
    """Yield the warnings about the data, of the snapshot, the features and this evaluation.

    Args:
        data: The snapshot.
        model: The model, which contains the warnings of its features.
        answers: The answers.
        untested: The classes without a test item.
        counted: The numbers of twins by content, by features, by one of both, and of all items.
    """
    by_content, by_features, twins, items = counted
    yield from dict.fromkeys((*data.manifest.warnings, *model.metadata.get(DATA_WARNINGS, ())))
    if answers.unanswered:
        yield (
            f"{len(answers.unanswered)} of {items} test items have no finite answer, such as "
            f"{answers.unanswered[0]}: they count as mistakes"
        )
    if untested:
        yield (
            f"no test item is of the classes {named(list(untested))}: nothing is known about the "
            "model's answers for them"
        )
    if twins:
        yield (
            f"{twins} of {items} test items have a near duplicate in training ({by_content} by "
            f"content, {by_features} by features): thresholds are checked without them"
        )


def _digests(run: StepRun, model: Model, data: Snapshot) -> dict[str, str]:
    trained = model.folder.lineage.provenance
    return {
        "snapshot": data.manifest.digest,
        "training_snapshot": model.metadata["snapshot_digest"],
        "encoder": model.metadata["encoder_digest"],
        "training_code": trained.code_digest,
        "training_environment": trained.environment_digest,
        "code": run.provenance.code_digest,
        "environment": run.provenance.environment_digest,
    }


def _facts(
    model: Model, proof: Evidence, comparison: ChampionComparison | None
) -> Iterator[tuple[str, str]]:
    """Yield the names and values at the end of the report."""
    trained = model.folder.lineage.provenance
    yield "Model", model.digest
    for name, digest in proof.digests.items():
        yield name.replace("_", " ").capitalize(), digest
    for name, value in trained.parameters.items():
        yield f"{trained.step}: {name}", str(value)
    for name in CHOSEN_FACTS:
        if name in trained.facts:
            yield f"Chosen {name}", f"{trained.facts[name]:.4g}"
    preparation = model.metadata.get("preprocessing", {})
    yield "Preparation of items", "; ".join(f"{name} {it}" for name, it in preparation.items())
    yield "Model written", f"{trained.started} to {trained.finished}"
    if comparison:
        yield "Champion", comparison.champion
        yield "Champion's training snapshot", comparison.training_snapshot
