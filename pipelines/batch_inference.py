"""batch_inference: Score unlabelled data with a trained model, and name the predictions."""

from azure.ai.ml import Input, dsl

from tfhub_blocks.components import score_batch


@dsl.pipeline(
    name="batch_inference",
    display_name="Batch inference",
    description="Score unlabelled data with a trained model, and keep the predictions as a named "
    "asset.",
)
def batch_inference(
    data: Input(
        type="uri_folder",
        description="A snapshot, or an unlabelled folder of files or with a table.",
    ),
    model: Input(
        type="mlflow_model",
        optional=True,
        description="Model from train_head or fine_tune, or any MLflow model.",
    ) = None,
    encoder: Input(
        type="custom_model",
        optional=True,
        description="Encoder with a built-in classifier, in place of a model.",
    ) = None,
    previous_predictions: Input(
        type="uri_folder",
        optional=True,
        description="Earlier predictions of the same model; only new items are scored.",
    ) = None,
    model_name: Input(
        type="string",
        optional=True,
        description="Name of the model in the registry, to write NAME:VERSION into each row.",
    ) = None,
    top_k: Input(
        type="integer",
        optional=True,
        min=1,
        max=1000,
        description="Number of largest probabilities to write. Without a value, the probability "
        "of each class.",
    ) = None,
    max_unreadable_fraction: Input(
        type="number",
        min=0.0,
        max=1.0,
        description="Highest share of unreadable items; the run fails above it.",
    ) = 0.01,
    engine: Input(
        type="string",
        enum=["auto", "tensorflow", "openvino"],
        description="Engine that computes the answers; auto selects the fastest whose answers "
        "agree with TensorFlow's.",
    ) = "auto",
    engine_precision: Input(
        type="string",
        enum=["float32", "bfloat16", "float16"],
        description="Precision of products; fewer bits are faster.",
    ) = "float32",
):
    """Score new items with a trained model; nothing is trained."""
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
