"""extract_features: Compute a frozen encoder's features for each item of a snapshot."""

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
    description="Run a frozen encoder once over each item of a snapshot, and store the features.",
    environment="azureml:tfhub-blocks-gpu:e3ee69387942",
    tags={"role": "gpu", "category": "features", "workers": "many"},
)
def extract_features(
    snapshot: Input(type="uri_folder", description="Snapshot of the items, from snapshot_data."),
    encoder: Input(type="custom_model", description="Encoder from import_encoder."),
    features: Output(
        type="uri_folder",
        description="Id, label, split and feature vector of each item, in Arrow shards.",
    ),
    previous_features: Input(
        type="uri_folder",
        optional=True,
        description="Earlier features of the same encoder; their items are not computed again.",
    ) = None,
    engine: Input(
        type="string",
        enum=["auto", *ENGINES],
        description="Engine: program that computes the features; auto selects the fastest on this "
        "machine whose features agree with TensorFlow's.",
    ) = "auto",
    engine_precision: Input(
        type="string",
        enum=["float32", "bfloat16", "float16"],
        description="Engine: precision of products. Fewer bits are faster; the step reports the "
        "deviation of the features.",
    ) = "float32",
    engine_max_difference: Input(
        type="number",
        optional=True,
        min=0.0,
        description="Engine: largest difference between features and those of the served model, "
        "relative to their length. Without a value, 0.0001, or 0.3 for fewer bits.",
    ) = None,
    dtype: Input(
        type="string",
        enum=["float32", "float16"],
        description="Data type of the stored features.",
    ) = "float32",
    batch_size: Input(
        type="integer",
        min=1,
        max=4096,
        description="Number of items that a GPU computes at once; a CPU core computes at most 8.",
    ) = 64,
):
    """Write a frozen encoder's features for each item of a snapshot."""
    with step(extract_features, locals()) as run:
        items = open_snapshot(run.path("snapshot"), "extract_features")
        earlier = previous_features and open_features(Path(previous_features), "extract_features")

        from tfhub_blocks.compute.encoders.encoder import load_encoder
        from tfhub_blocks.compute.extraction.extraction import Extraction
        from tfhub_blocks.compute.extraction.feature_output import run_extraction
        from tfhub_blocks.compute.inference.shared_work import InferenceOptions
        from tfhub_blocks.compute.tf.tensorflow_setup import use_one_thread_per_operation

        use_one_thread_per_operation()
        pinned = load_encoder(run.path("encoder"), "extract_features")
        options = InferenceOptions(
            engine, engine_precision, dtype, engine_max_difference, batch_size
        )
        extraction = Extraction(items, pinned, options, earlier)
        run_extraction(run, "features", FEATURES, extraction, Progress)
