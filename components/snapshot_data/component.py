"""snapshot_data: Copy a data set into an immutable snapshot with deterministic splits."""

from pathlib import Path

from mldesigner import Input, Output, command_component

from tfhub_blocks.compute.modalities import MODALITIES
from tfhub_blocks.compute.step.step_frame import step
from tfhub_blocks.records.base.progress import Progress
from tfhub_blocks.records.formats.snapshots import SNAPSHOT


@command_component(
    version="1.0.0",
    display_name="Snapshot data",
    description=(
        "Copy a data set that may change into an immutable snapshot. The content of an item "
        "determines its id and its split; items are packed into Arrow shards."
    ),
    environment="azureml:tfhub-blocks-cpu:0e8ca113f6d0",
    tags={"role": "cpu", "category": "data", "opens": "source"},
)
def snapshot_data(
    source: Input(
        type="uri_folder",
        description=(
            "A folder for each class, or a folder with one table (.csv, .jsonl, .parquet) at its "
            "top that has the column label, and the column text or path."
        ),
    ),
    snapshot: Output(
        type="uri_folder",
        description="Items in Arrow shards, sorted by id, with label and split.",
    ),
    previous: Input(
        type="uri_folder",
        optional=True,
        description="Splits: an earlier snapshot of this source. Its items keep their split, so no "
        "item moves between training and test.",
    ) = None,
    modality: Input(
        type="string",
        enum=["auto", *MODALITIES],
        description="Kind of the items; auto reads it from the table's columns or from file "
        "extensions.",
    ) = "auto",
    split_salt: Input(
        type="string",
        description="Splits: text that determines an item's split together with its content. "
        "Another salt gives other splits.",
    ) = "splits-1",
    validation_fraction: Input(
        type="number", min=0.0, max=1.0, description="Splits: share of items for validation."
    ) = 0.15,
    test_fraction: Input(
        type="number", min=0.0, max=1.0, description="Splits: share of items for the test."
    ) = 0.15,
    respect_splits: Input(
        type="boolean",
        description=(
            "Splits: use the splits in the table's column split, or in folders split/class, in "
            "place of computed splits."
        ),
    ) = False,
    group_by: Input(
        type="string",
        optional=True,
        description="Splits: what belongs together and stays in one split: column:NAME, folder "
        "(the folder that contains a file), or pattern:REGEX (a part of its path).",
    ) = None,
    near_duplicates: Input(
        type="string",
        enum=["together", "report", "off"],
        description="Splits: keep near duplicates in one split, only report them, or do not look "
        "for them.",
    ) = "together",
    label_column: Input(
        type="string", description="Column of a table that contains the labels."
    ) = "label",
    min_test_items: Input(
        type="integer",
        min=0,
        description="Limits: least number of test items; the step fails below it, before features "
        "are computed. 0 checks nothing.",
    ) = 0,
    min_class_test_items: Input(
        type="integer",
        min=0,
        description="Limits: least number of test items of each class; the step fails below it.",
    ) = 0,
    min_accuracy_gain: Input(
        type="number",
        optional=True,
        min=-1.0,
        max=1.0,
        description="Limits: accuracy gain that evaluate will require; the step fails if the test "
        "items are too few to show such a gain.",
    ) = None,
    max_rejected_fraction: Input(
        type="number",
        min=0.0,
        max=1.0,
        description="Limits: highest share of unusable items; the step fails above it.",
    ) = 0.01,
    max_pixels: Input(
        type="integer",
        min=1,
        description="Limits: largest number of pixels of an image; larger images are rejected "
        "before they are decoded.",
    ) = 50_000_000,
    max_seconds: Input(
        type="number",
        min=0.0,
        description="Limits: longest sound in seconds; longer sounds are rejected before they are "
        "decoded.",
    ) = 600.0,
    follow_links: Input(
        type="boolean",
        description="Limits: read files outside of the source to which links lead, and record "
        "them; otherwise such links are refused.",
    ) = False,
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
            follow_links=follow_links,
            group_by=group_by or "",
            near_duplicates=near_duplicates,
            label_column=label_column,
            previous=Path(previous) if previous else None,
            min_test_items=min_test_items,
            min_class_test_items=min_class_test_items,
            min_accuracy_gain=min_accuracy_gain,
        )

        def take(path):
            output = run.begin_output("snapshot", SNAPSHOT)
            return take_snapshot(path, output, options, Progress("items"))

        manifest = run.first_passing("source", take)
        run.facts.update(snapshot_digest=manifest.digest, items=manifest.items)
        run.warn(*manifest.warnings)
        print(manifest.summary())
