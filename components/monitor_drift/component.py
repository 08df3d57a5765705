"""monitor_drift: Compare new items with the training data of a model, and estimate its accuracy."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step


@command_component(
    version="1.0.0",
    display_name="Monitor drift",
    description="Test whether the items of a model have moved, with a bounded chance of a false "
    "alarm over all looks, and estimate the accuracy on them. Nothing is computed by the encoder.",
    environment="azureml:tfhub-blocks-cpu:0e8ca113f6d0",
    tags={"role": "cpu", "category": "evaluate"},
)
def monitor_drift(
    model: Input(type="mlflow_model", description="Model from train_head."),
    features: Input(type="uri_folder", description="Features that the model was trained on."),
    current: Input(
        type="uri_folder",
        description="New items: features of the same encoder, or predictions of the model from "
        "score_batch with keep_features.",
    ),
    monitoring: Output(
        type="uri_folder",
        description="drift.json, report.html, to_label.csv, and numbers for the next monitoring.",
    ),
    earlier: Input(
        type="uri_folder",
        optional=True,
        description="Last monitoring of the model, whose looks count together with this one.",
    ) = None,
    labels: Input(
        type="uri_file",
        optional=True,
        description="The file to_label.csv of a run with the same items, with labels filled in "
        "from the top.",
    ) = None,
    snapshot: Input(
        type="uri_folder",
        optional=True,
        description="Snapshot of the training data, whose items the report shows.",
    ) = None,
    data: Input(
        type="uri_folder",
        optional=True,
        description="Snapshot or folder of the new items, which the report shows.",
    ) = None,
    alarm_level: Input(
        type="number",
        min=0.0001,
        max=0.5,
        description="Levels: highest chance of a false alarm over all looks.",
    ) = 0.05,
    least_accuracy: Input(
        type="number",
        optional=True,
        min=0.0,
        max=1.0,
        description="Levels: lowest accuracy; an alarm is raised below it.",
    ) = None,
    labels_wanted: Input(
        type="integer", min=2, max=10000, description="Report: number of items to label."
    ) = 60,
):
    """Look at new items of a model once. An alarm does not fail the step."""
    with step(monitor_drift, locals()) as run:
        from tfhub_blocks.compute.monitoring.monitoring_run import MonitoringOptions, run_monitoring

        options = MonitoringOptions(alarm_level, least_accuracy, labels_wanted)
        paths = [given and Path(given) for given in (earlier, labels, snapshot, data)]
        run_monitoring(run, *paths, options)
