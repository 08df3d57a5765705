"""monitoring_of_features: Compare existing features or predictions with a model's training data."""

from azure.ai.ml import dsl

from tfhub_blocks import like
from tfhub_blocks.components import monitor_drift


@dsl.pipeline(
    name="monitoring_of_features",
    display_name="Monitoring of features",
    description="Test whether items whose features exist have moved, and estimate the accuracy on "
    "them, without a forward pass.",
)
def monitoring_of_features(
    model: like(monitor_drift, "model"),
    features: like(monitor_drift, "features"),
    current: like(monitor_drift, "current"),
    earlier: like(monitor_drift, "earlier"),
    labels: like(monitor_drift, "labels"),
    snapshot: like(monitor_drift, "snapshot"),
    data: like(monitor_drift, "data"),
    alarm_level: like(monitor_drift, "alarm_level"),
    least_accuracy: like(monitor_drift, "least_accuracy"),
    labels_wanted: like(monitor_drift, "labels_wanted"),
):
    """Look at new items of a model once; nothing is computed by the encoder."""
    look = monitor_drift(
        model=model,
        features=features,
        current=current,
        earlier=earlier,
        labels=labels,
        snapshot=snapshot,
        data=data,
        alarm_level=alarm_level,
        least_accuracy=least_accuracy,
        labels_wanted=labels_wanted,
    )
    return {"monitoring": look.outputs.monitoring}
