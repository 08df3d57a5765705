"""snapshot_data: an immutable, content-addressed copy of a data set with deterministic splits."""

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.progress import Progress
from tfhub_blocks.records.formats.snapshots import SNAPSHOT


@command_component(
    version="1.0.0",
    display_name="Snapshot data",
    description=(
        "Copies a data set that may change into one that cannot: items are named by their "
        "content, split by it, and packed into Arrow shards."
    ),
    environment="azureml:tfhub-blocks-cpu:6887d457f02e",
    tags={"role": "cpu", "category": "data"},
)
def snapshot_data(
    source: Input(
        type="uri_folder",
        description=(
            "A folder for each class, or a folder with one table (.csv, .jsonl, .parquet) at its "
            "top that has the columns text or path, and label."
        ),
    ),
    snapshot: Output(
        type="uri_folder",
        description="The items in Arrow shards, sorted by id, with label and split.",
    ),
    modality: Input(
        type="string",
        enum=["auto", *MODALITIES],
        description="What the items are; auto looks at the table's columns or at file extensions.",
    ) = "auto",
    split_salt: Input(
        type="string",
        description="Splits: decides, with its content, an item's split; another salt, other sets.",
    ) = "splits-1",
    validation_fraction: Input(
        type="number", min=0.0, max=1.0, description="Splits: the share for validation."
    ) = 0.15,
    test_fraction: Input(
        type="number", min=0.0, max=1.0, description="Splits: the share for the test."
    ) = 0.15,
    respect_splits: Input(
        type="boolean",
        description=(
            "Splits: take them from the table's column split, or from folders split/class, instead."
        ),
    ) = False,
    max_rejected_fraction: Input(
        type="number",
        min=0.0,
        max=1.0,
        description="Limits: the share of items that may be unusable before the step fails.",
    ) = 0.01,
    max_pixels: Input(
        type="integer",
        min=1,
        description="Limits: most pixels of an image; a larger one is rejected, not decoded.",
    ) = 50_000_000,
    max_seconds: Input(
        type="number",
        min=0.0,
        description="Limits: the longest sound; a longer one is rejected, not decoded.",
    ) = 600.0,
):
    """Write a snapshot of a data set that may change."""
    with step(snapshot_data, locals()) as run:
        from tfhub_blocks.compute.data.snapshot_writing import SnapshotOptions, take_snapshot

        options = SnapshotOptions(
            modality=modality,
            split_salt=split_salt,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            respect_splits=respect_splits,
            max_rejected_fraction=max_rejected_fraction,
            max_pixels=max_pixels,
            max_seconds=max_seconds,
        )
        folder = run.begin_output("snapshot", SNAPSHOT)
        manifest = take_snapshot(run.path("source"), folder, options, Progress("items"))
        run.facts.update(snapshot_digest=manifest.digest, items=manifest.items)
        for warning in manifest.warnings:
            print(f"warning: {warning}")
        sizes = (f"{split} {sum(of.values())}" for split, of in manifest.counts.items())
        print(
            f"{manifest.items} {manifest.modality} items of {len(manifest.labels)} classes: "
            f"{', '.join(sizes)}; {manifest.duplicates} duplicates, {manifest.rejected} rejected; "
            f"digest {manifest.digest}"
        )
