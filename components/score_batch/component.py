"""score_batch: Score unlabelled data with a model, and write one prediction for each item."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.progress import Progress
from tfhub_blocks.records.formats.predictions import open_predictions


@command_component(
    version="1.0.0",
    display_name="Score batch",
    description="Predict labels and probabilities for each item of a snapshot, a folder or a "
    "table, and write them as Parquet. The row of an unreadable item contains the reason.",
    environment="azureml:tfhub-blocks-gpu:e3ee69387942",
    tags={"role": "gpu", "category": "score", "workers": "many"},
)
def score_batch(
    data: Input(
        type="uri_folder",
        description="A snapshot, a folder of files, or a folder with a table (.csv, .jsonl, "
        ".parquet) at its top that has the column text or path. No labels are needed.",
    ),
    predictions: Output(
        type="uri_folder",
        description="Path, id, label, probabilities or error, and model version of each item, in "
        "the order of the data, in Parquet shards; and summary.json.",
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
        description="Earlier predictions of the same model; items with the same content are not "
        "scored again.",
    ) = None,
    model_name: Input(
        type="string",
        optional=True,
        description="Name of the model in the registry. Rows then contain NAME:VERSION in place "
        "of a digest.",
    ) = None,
    top_k: Input(
        type="integer",
        optional=True,
        min=1,
        max=1000,
        description="Answers: number of largest probabilities to write. Without a value, the "
        "probability of each class.",
    ) = None,
    keep_features: Input(
        type="boolean",
        description="Answers: write the encoder's features too, which monitor_drift compares. They "
        "come from the same forward pass.",
    ) = False,
    max_unreadable_fraction: Input(
        type="number",
        min=0.0,
        max=1.0,
        description="Limits: highest share of unreadable items; the step fails above it.",
    ) = 0.01,
    max_pixels: Input(
        type="integer",
        min=1,
        description="Limits: largest number of pixels of an image; larger images are not decoded.",
    ) = 50_000_000,
    max_seconds: Input(
        type="number",
        min=0.0,
        description="Limits: longest sound in seconds; longer sounds are not decoded.",
    ) = 600.0,
    trust_code: Input(
        type="boolean",
        description="Limits: run the code of a model that tfhub-blocks did not build.",
    ) = False,
    follow_links: Input(
        type="boolean",
        description="Limits: read files outside of the data to which links lead, and record them; "
        "otherwise such links are refused.",
    ) = False,
    engine: Input(
        type="string",
        enum=["auto", *ENGINES],
        description="Engine: program that computes the answers; auto selects the fastest on this "
        "machine whose answers agree with TensorFlow's.",
    ) = "auto",
    engine_precision: Input(
        type="string",
        enum=["float32", "bfloat16", "float16"],
        description="Engine: precision of products; fewer bits are faster.",
    ) = "float32",
    engine_max_difference: Input(
        type="number",
        optional=True,
        min=0.0,
        description="Engine: largest difference between probabilities and those of the served "
        "model, relative to their length. Without a value, 0.0001, or 0.3 for fewer bits.",
    ) = None,
    batch_size: Input(
        type="integer",
        min=1,
        max=4096,
        description="Number of items that a GPU computes at once; a CPU core computes at most 8.",
    ) = 64,
):
    """Write a model's prediction for each item of the data."""
    with step(score_batch, locals()) as run:
        from tfhub_blocks.compute.inference.shared_work import InferenceOptions
        from tfhub_blocks.compute.modalities.modality import Limits
        from tfhub_blocks.compute.predictions.batch_scoring import Scoring
        from tfhub_blocks.compute.predictions.prediction_output import run_scoring
        from tfhub_blocks.compute.predictions.scorers import open_scorer
        from tfhub_blocks.compute.predictions.scoring_rows import open_places

        known = previous_predictions and Path(previous_predictions)
        files = [given and Path(given) for given in (model, encoder)]
        scorer = open_scorer(*files, trust_code, keep_features)
        version = scorer.digest
        if model_name:
            from tfhub_blocks.compute.registration.model_registry import version_of

            version = version_of(model_name, scorer.digest)
        options = InferenceOptions(
            engine, engine_precision, max_difference=engine_max_difference, batch_size=batch_size
        )
        limits = Limits(max_pixels, max_seconds)
        scoring = Scoring(
            model=scorer,
            places=open_places(run.path("data"), scorer.modality, limits, follow_links),
            model_version=version,
            options=options,
            top_k=top_k,
            previous=known and open_predictions(known, "score_batch"),
            max_unreadable=max_unreadable_fraction,
        )
        run_scoring(run, "predictions", scoring, Progress)
