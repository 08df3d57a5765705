"""extract_features: a frozen encoder's output for each item of a snapshot."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.progress import Progress
from tfhub_blocks.records.formats.features import FEATURES, open_features
from tfhub_blocks.records.formats.snapshots import open_snapshot


@command_component(
    version="1.0.0",
    display_name="Extract features",
    description="Runs a frozen encoder once over each item of a snapshot and keeps its features.",
    environment="azureml:tfhub-blocks-gpu:cf87ef4816ab",
    tags={"role": "gpu", "category": "features", "workers": "many"},
)
def extract_features(
    snapshot: Input(type="uri_folder", description="The items, as snapshot_data made them."),
    encoder: Input(type="custom_model", description="The encoder, as import_encoder made it."),
    features: Output(
        type="uri_folder",
        description="Id, label, split and feature vector of each item, in Arrow shards.",
    ),
    previous_features: Input(
        type="uri_folder",
        optional=True,
        description="Earlier features of the same encoder: their items are not computed again.",
    ) = None,
    engine: Input(
        type="string",
        enum=["auto", *ENGINES],
        description="Engine: what computes; auto is the fastest here that gives the same features.",
    ) = "auto",
    engine_precision: Input(
        type="string",
        enum=["float32", "bfloat16", "float16"],
        description="Engine: what products are computed in; fewer bits are faster, and tell what "
        "they cost.",
    ) = "float32",
    engine_max_difference: Input(
        type="number",
        optional=True,
        min=0.0,
        description="Engine: how far features may be from those of the served model, relative to "
        "their length; else 0.0001, and 0.3 for fewer bits.",
    ) = None,
    dtype: Input(
        type="string",
        enum=["float32", "float16"],
        description="What features are kept in.",
    ) = "float32",
    batch_size: Input(
        type="integer",
        min=1,
        max=4096,
        description="How many items a GPU computes at once; a CPU core computes at most 8.",
    ) = 64,
):
    """Write the frozen encoder's features of each item of a snapshot."""
    with step(extract_features, locals()) as run:
        items = open_snapshot(run.path("snapshot"), "extract_features")
        earlier = previous_features and open_features(Path(previous_features), "extract_features")

        from tfhub_blocks.compute.encoders.encoder import load_encoder
        from tfhub_blocks.compute.extraction.extraction import Extraction, ExtractionOptions
        from tfhub_blocks.compute.extraction.feature_output import run_extraction
        from tfhub_blocks.compute.tf.tensorflow_setup import use_one_thread_per_operation

        use_one_thread_per_operation()
        pinned = load_encoder(run.path("encoder"), "extract_features")
        options = ExtractionOptions(
            engine, engine_precision, dtype, engine_max_difference, batch_size
        )
        extraction = Extraction(items, pinned, options, earlier)
        run_extraction(run, "features", FEATURES, extraction, Progress)
