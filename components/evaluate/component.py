"""evaluate: Measure a model on the test split, and compare it with the champion."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.progress import Progress
from tfhub_blocks.records.formats.gate_floors import (
    DEFAULT_CLASS_TEST_ITEMS,
    DEFAULT_TEST_ITEMS,
)


@command_component(
    version="1.0.0",
    display_name="Evaluate",
    description="Measure a model on the test split of a snapshot, with a 95 % interval for each "
    "metric, and compare it with the champion, item by item. Write a report, and evidence of the "
    "thresholds that the model meets.",
    environment="azureml:tfhub-blocks-gpu:e3ee69387942",
    tags={
        "role": "gpu",
        "category": "evaluate",
        "needs": "min_accuracy_gain champion",
        "judges_by": "snapshot",
    },
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
    min_test_items: Input(
        type="integer",
        min=0,
        description="Thresholds: least number of test items. With all of 10 items right, the 95 % "
        "interval of the accuracy begins at 0.69.",
    ) = DEFAULT_TEST_ITEMS,
    min_class_test_items: Input(
        type="integer",
        min=0,
        description="Thresholds: least number of test items of each class; 0 accepts classes that "
        "were never tested.",
    ) = DEFAULT_CLASS_TEST_ITEMS,
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
        from tfhub_blocks.compute.evaluation.evaluation_step import run_evaluation

        bounds = {
            "min_accuracy": min_accuracy,
            "min_balanced_accuracy": min_balanced_accuracy,
            "min_macro_f1": min_macro_f1,
            "max_log_loss": max_log_loss,
            "max_expected_calibration_error": max_expected_calibration_error,
        }
        before = Path(champion) if champion else None
        floors = (min_test_items, min_class_test_items)
        given = (min_accuracy_gain, floors, resamples, mistakes, Progress)
        run_evaluation(run, before, bounds, *given)
