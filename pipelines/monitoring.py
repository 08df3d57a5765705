"""monitoring: Score new items with a model, and compare them with its training data."""

from azure.ai.ml import dsl

from tfhub_blocks import like
from tfhub_blocks.components import monitor_drift, score_batch


@dsl.pipeline(
    name="monitoring",
    display_name="Monitoring",
    description="Score new items with a model, test whether they have moved, and estimate the "
    "accuracy on them, in one forward pass.",
)
def monitoring(
    data: like(score_batch, "data"),
    model: like(monitor_drift, "model"),
    features: like(monitor_drift, "features"),
    earlier: like(monitor_drift, "earlier"),
    labels: like(monitor_drift, "labels"),
    snapshot: like(monitor_drift, "snapshot"),
    previous_predictions: like(score_batch, "previous_predictions"),
    max_unreadable_fraction: like(score_batch, "max_unreadable_fraction"),
    engine: like(score_batch, "engine"),
    follow_links: like(score_batch, "follow_links"),
    alarm_level: like(monitor_drift, "alarm_level"),
    least_accuracy: like(monitor_drift, "least_accuracy"),
    labels_wanted: like(monitor_drift, "labels_wanted"),
):
    """Look at new items of a model once; nothing is trained."""
    scored = score_batch(
        data=data,
        model=model,
        previous_predictions=previous_predictions,
        max_unreadable_fraction=max_unreadable_fraction,
        engine=engine,
        follow_links=follow_links,
        keep_features=True,
    )
    look = monitor_drift(
        model=model,
        features=features,
        current=scored.outputs.predictions,
        earlier=earlier,
        labels=labels,
        snapshot=snapshot,
        data=data,
        alarm_level=alarm_level,
        least_accuracy=least_accuracy,
        labels_wanted=labels_wanted,
    )
    return {"predictions": scored.outputs.predictions, "monitoring": look.outputs.monitoring}
