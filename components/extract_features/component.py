"""extract_features: a frozen encoder's output for each item of a snapshot."""

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.steps import step
from tfhub_blocks.records.features import FORMAT
from tfhub_blocks.records.progress import Progress
from tfhub_blocks.records.snapshots import open_snapshot


@command_component(
    version="1.0.0",
    display_name="Extract features",
    description="Runs a frozen encoder once over each item of a snapshot and keeps its features.",
    environment="azureml:tfhub-blocks-gpu:2ee22ac4e24f",
    tags={"role": "gpu", "category": "features"},
)
def extract_features(
    snapshot: Input(type="uri_folder", description="The items, as snapshot_data made them."),
    encoder: Input(type="custom_model", description="The encoder, as import_encoder made it."),
    features: Output(
        type="uri_folder",
        description="Id, label, split and feature vector of each item, in Arrow shards.",
    ),
    batch_size: Input(
        type="integer",
        min=1,
        max=4096,
        description="How many items a GPU computes at once; a CPU core computes at most 8.",
    ) = 64,
):
    """Write the frozen encoder's features of each item of a snapshot."""
    with step(extract_features, locals()) as run:
        from tfhub_blocks.compute.encoders import load_encoder
        from tfhub_blocks.compute.features import extract
        from tfhub_blocks.compute.runtime import use_one_thread_per_operation

        items = open_snapshot(run.path("snapshot"), "extract_features")
        use_one_thread_per_operation()
        pinned = load_encoder(run.path("encoder"), "extract_features")
        folder = run.begin_output("features", FORMAT)
        manifest = extract(items, pinned, folder, batch_size, Progress("items"))
        run.facts.update(
            items=manifest.items,
            dimension=manifest.dimension,
            snapshot_digest=manifest.snapshot_digest,
            encoder_digest=manifest.encoder_digest,
        )
        print(f"{manifest.items} items, {manifest.dimension} features each, by {pinned.pin.name}")
