"""Batch inference: a model's answers for the items of some data, and no training."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import score_batch


@dsl.pipeline(
    name="batch_inference",
    display_name="Batch inference",
    description="Score data that need not be labelled, and keep the predictions as a named asset.",
)
def batch_inference(
    data: Input(
        type="uri_folder",
        description="A snapshot, or an unlabelled folder of files or a table",
    ),
    model: Input(
        type="mlflow_model",
        optional=True,
        description="A model from train_head or fine_tune, or any that MLflow wrote",
    ) = None,
    encoder: Input(
        type="custom_model",
        optional=True,
        description="An encoder with a classifier of its own, instead of a model",
    ) = None,
    previous_predictions: Input(
        type="uri_folder", optional=True, description="Earlier predictions, to add to"
    ) = None,
    model_name: Input(
        type="string", optional=True, description="Name in the model registry, to be in each row"
    ) = None,
    top_k: Input(
        type="integer",
        optional=True,
        min=1,
        max=1000,
        description="Keep so many of the largest probabilities; else that of each class",
    ) = None,
    max_unreadable_fraction: Input(
        type="number", min=0.0, max=1.0, description="Share of unreadable items to put up with"
    ) = 0.01,
    engine: Input(
        type="string",
        enum=["auto", "tensorflow", "openvino"],
        description="What computes; auto is the fastest that answers the same",
    ) = "auto",
    engine_precision: Input(
        type="string",
        enum=["float32", "bfloat16", "float16"],
        description="What products are computed in; fewer bits are faster",
    ) = "float32",
):
    """The third pattern: nothing is trained, and only what is new is scored."""
    scored = score_batch(
        data=data,
        model=model,
        encoder=encoder,
        previous_predictions=previous_predictions,
        model_name=model_name,
        top_k=top_k,
        max_unreadable_fraction=max_unreadable_fraction,
        engine=engine,
        engine_precision=engine_precision,
    )
    scored.outputs.predictions.name = "batch-predictions"
    return {"predictions": scored.outputs.predictions}
