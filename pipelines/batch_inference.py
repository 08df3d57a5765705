"""batch_inference: Score unlabelled data with a trained model, and name the predictions."""

from azure.ai.ml import dsl

from tfhub_blocks import like
from tfhub_blocks.components import score_batch


@dsl.pipeline(
    name="batch_inference",
    display_name="Batch inference",
    description="Score unlabelled data with a trained model, and keep the predictions as a named "
    "asset.",
)
def batch_inference(
    data: like(score_batch, "data"),
    model: like(score_batch, "model"),
    encoder: like(score_batch, "encoder"),
    previous_predictions: like(score_batch, "previous_predictions"),
    model_name: like(score_batch, "model_name"),
    top_k: like(score_batch, "top_k"),
    keep_features: like(score_batch, "keep_features"),
    max_unreadable_fraction: like(score_batch, "max_unreadable_fraction"),
    trust_code: like(score_batch, "trust_code"),
    follow_links: like(score_batch, "follow_links"),
    engine: like(score_batch, "engine"),
    engine_precision: like(score_batch, "engine_precision"),
):
    """Score new items with a trained model; nothing is trained."""
    scored = score_batch(
        data=data,
        model=model,
        encoder=encoder,
        previous_predictions=previous_predictions,
        model_name=model_name,
        top_k=top_k,
        keep_features=keep_features,
        max_unreadable_fraction=max_unreadable_fraction,
        trust_code=trust_code,
        follow_links=follow_links,
        engine=engine,
        engine_precision=engine_precision,
    )
    scored.outputs.predictions.name = "batch-predictions"
    return {"predictions": scored.outputs.predictions}
