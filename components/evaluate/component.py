"""evaluate: Measure a model on the test split, and compare it with the champion."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.progress import Progress
from tfhub_blocks.records.formats.evidence import Evidence
from tfhub_blocks.records.formats.models import open_model
from tfhub_blocks.records.formats.snapshots import open_snapshot


@command_component(
    version="1.0.0",
    display_name="Evaluate",
    description="Measure a model on the test split of a snapshot, with a 95 % interval for each "
    "metric, and compare it with the champion, item by item. Write a report, and evidence of the "
    "thresholds that the model meets.",
    environment="azureml:tfhub-blocks-gpu:c1ccb3220897",
    tags={"role": "gpu", "category": "evaluate", "needs": "min_accuracy_gain champion"},
)
def evaluate(
    model: Input(type="mlflow_model", description="Model from train_head or fine_tune."),
    snapshot: Input(type="uri_folder", description="Snapshot whose test split is used."),
    report: Output(type="uri_folder", description="report.html, metrics.json and plots as PNG."),
    evidence: Output(
        type="uri_file", description="Statement of the metrics, and of the measured model."
    ),
    champion: Input(
        type="mlflow_model",
        optional=True,
        description="Model in production, compared with the model on the same test items.",
    ) = None,
    min_accuracy: Input(
        type="number", optional=True, min=0.0, max=1.0, description="Thresholds: lowest accuracy."
    ) = None,
    min_balanced_accuracy: Input(
        type="number",
        optional=True,
        min=0.0,
        max=1.0,
        description="Thresholds: lowest mean recall of the classes.",
    ) = None,
    min_macro_f1: Input(
        type="number",
        optional=True,
        min=0.0,
        max=1.0,
        description="Thresholds: lowest mean F1 of the classes.",
    ) = None,
    max_log_loss: Input(
        type="number", optional=True, min=0.0, description="Thresholds: highest log-loss, in nats."
    ) = None,
    max_expected_calibration_error: Input(
        type="number",
        optional=True,
        min=0.0,
        max=1.0,
        description="Thresholds: highest expected calibration error.",
    ) = None,
    min_accuracy_gain: Input(
        type="number",
        optional=True,
        min=-1.0,
        max=1.0,
        description="Thresholds: lowest accuracy gain over the champion. The lower end of the "
        "gain's 95 % interval must reach it; -0.01 accepts a loss of one item in a hundred.",
    ) = None,
    resamples: Input(
        type="integer",
        min=100,
        max=100000,
        description="Report: number of bootstrap resamples for an interval.",
    ) = 1000,
    mistakes: Input(
        type="integer",
        min=0,
        max=500,
        description="Report: number of mistakes to show, the most confident first.",
    ) = 24,
):
    """Write a report and evidence about a model on the test split of a snapshot.

    An unmet threshold does not fail this step: register_model refuses the model.
    """
    with step(evaluate, locals()) as run:
        from tfhub_blocks.compute.evaluation.champion import (
            Model,
            check_min_gain,
            compare,
            open_champion,
        )

        check_min_gain(min_accuracy_gain, champion)
        tested, metadata = open_model(Path(model), "evaluate")
        data = open_snapshot(Path(snapshot), "evaluate")
        ours = Model(tested, metadata)
        theirs = open_champion(Path(champion), ours) if champion else None

        from tfhub_blocks.compute.evaluation.classification_metrics import measure
        from tfhub_blocks.compute.evaluation.evaluation_report import FORMAT
        from tfhub_blocks.compute.evaluation.evaluation_run import (
            answer_split,
            hold_thresholds,
            summary_values,
            write_report,
        )
        from tfhub_blocks.compute.step.tracking import track

        labels = metadata["labels"]
        answers = answer_split(tested.path, labels, data, "test", Progress("items"))
        metrics = measure(answers.probabilities, answers.targets, answers.labels, resamples)
        comparison = theirs and compare(
            ours, theirs, answers, data, resamples, Progress("items by the champion")
        )
        asked = {
            "min_accuracy": min_accuracy,
            "min_balanced_accuracy": min_balanced_accuracy,
            "min_macro_f1": min_macro_f1,
            "max_log_loss": max_log_loss,
            "max_expected_calibration_error": max_expected_calibration_error,
        }
        made = tested.lineage.provenance
        proof = Evidence(
            model_digest=tested.digest,
            digests={
                "snapshot": data.manifest.digest,
                "training_snapshot": metadata["snapshot_digest"],
                "encoder": metadata["encoder_digest"],
                "training_code": made.code_digest,
                "training_environment": made.environment_digest,
                "code": run.provenance.code_digest,
                "environment": run.provenance.environment_digest,
            },
            metrics=metrics.summary(),
            thresholds=hold_thresholds(metrics, asked, comparison, min_accuracy_gain),
            comparison=comparison,
        )
        folder = run.begin_output("report", FORMAT)
        facts = [
            ("Model", tested.digest),
            *((name.replace("_", " ").capitalize(), d) for name, d in proof.digests.items()),
            *((f"{made.step}: {name}", str(value)) for name, value in made.parameters.items()),
            *(
                (f"Chosen {name}", f"{made.facts[name]:.4g}")
                for name in ("strength", "temperature")
                if name in made.facts
            ),
            ("Model written", f"{made.started} to {made.finished}"),
        ]
        tags = {"model_digest": tested.digest}
        if comparison:
            facts += [
                ("Champion", comparison.champion),
                ("Champion's training snapshot", comparison.training_snapshot),
            ]
            tags["champion_digest"] = comparison.champion
            print(comparison.told(), *comparison.warnings(), sep="\n")
        write_report(folder, answers, metrics, proof.thresholds, data, facts, mistakes, comparison)
        track("evaluate", summary_values(metrics, comparison), tags, folder)
        proof.write(run.path("evidence"))
        for threshold in proof.thresholds:
            verdict = "met" if threshold.met else "NOT met"
            print(f"{threshold.name} {threshold.asked:.4g}: {threshold.measured:.4g}, {verdict}")
