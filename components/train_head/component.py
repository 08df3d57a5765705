"""train_head: Train a calibrated linear head on cached features, and write a complete model."""

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.formats.features import open_features


@command_component(
    version="1.0.0",
    display_name="Train head",
    description="Train a multinomial logistic regression on cached features, and choose its "
    "regularisation and calibrate it on the validation split. The model contains the preprocessing "
    "and the encoder, so it needs no other files.",
    environment="azureml:tfhub-blocks-cpu:0e8ca113f6d0",
    tags={"role": "cpu", "category": "train"},
)
def train_head(
    features: Input(type="uri_folder", description="Features from extract_features."),
    encoder: Input(type="custom_model", description="Encoder that computed the features."),
    model: Output(
        type="mlflow_model",
        description="Model that takes bytes or text and returns labels and probabilities.",
    ),
    strengths: Input(
        type="string",
        description="Regularisation strengths to try: numbers separated by commas, or auto.",
    ) = "auto",
    balance_classes: Input(
        type="boolean", description="Weight each class by the inverse of its share."
    ) = False,
    max_iterations: Input(
        type="integer",
        min=1,
        max=100000,
        description="Highest number of L-BFGS iterations for a strength.",
    ) = 1000,
):
    """Train a linear head on features, and write it with the encoder as one model.

    The head is the optimum of its convex loss, so it depends on the features alone.
    """
    with step(train_head, locals()) as run:
        from tfhub_blocks.compute.heads.linear_head import parse_strengths

        tried = parse_strengths(strengths)
        cached = open_features(run.path("features"), "train_head")

        from tfhub_blocks.compute.models.head_training import run_head_training

        run_head_training(run, cached, tried, balance_classes, max_iterations)
