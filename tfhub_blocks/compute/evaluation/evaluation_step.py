"""The step evaluate: the report and the evidence of a model on the test split."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tfhub_blocks.compute.evaluation.champion import (
    Model,
    check_min_gain,
    compare,
    open_champion,
)
from tfhub_blocks.compute.evaluation.classification_metrics import measure
from tfhub_blocks.compute.evaluation.evaluation_report import FORMAT
from tfhub_blocks.compute.evaluation.evaluation_run import (
    WHERE,
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
from tfhub_blocks.records.formats.models import open_model
from tfhub_blocks.records.formats.snapshots import Snapshot, open_snapshot
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

CHOSEN_FACTS = ("strength", "temperature")


def run_evaluation(
    run: StepRun,
    champion: Path | None,
    bounds: Mapping[str, float | None],
    min_gain: float | None,
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
        resamples: The number of bootstrap resamples for an interval.
        mistakes: The number of mistakes to show.
        progress: Returns, for a unit, a function to call with the units done and the total.

    Raises:
        BlocksError: An input is not a finished output of its kind, the model cannot answer the
            snapshot, or a gain is required without a champion.
    """
    check_min_gain(min_gain, champion)
    tested, metadata = open_model(run.path("model"), WHERE)
    data = open_snapshot(run.path("snapshot"), WHERE)
    ours = Model(tested, metadata)
    theirs = open_champion(champion, ours) if champion else None
    answers = answer_split(tested.path, metadata["labels"], data, "test", progress("items"))
    metrics = measure(answers.probabilities, answers.targets, answers.labels, resamples)
    comparison = None
    if theirs:
        shown = progress("items by the champion")
        comparison = compare(ours, theirs, answers, data, resamples, shown)
    proof = Evidence(
        model_digest=tested.digest,
        digests=_digests(run, ours, data),
        metrics=metrics.summary(),
        thresholds=hold_thresholds(metrics, bounds, comparison, min_gain),
        comparison=comparison,
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
    write_report(
        folder, answers, metrics, proof.thresholds, data, facts, mistakes, seen, comparison
    )
    track("evaluate", summary_values(metrics, comparison), tags, folder)
    proof.write(run.path("evidence"))
    for threshold in proof.thresholds:
        verdict = "met" if threshold.met else "NOT met"
        print(f"{threshold.name} {threshold.asked:.4g}: {threshold.measured:.4g}, {verdict}")


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
