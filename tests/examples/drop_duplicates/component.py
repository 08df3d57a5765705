"""drop_duplicates: keep one of the texts that differ only in case and white space."""

from mldesigner import Input, Output, command_component

from tfhub_blocks import SNAPSHOT, open_snapshot, step, write_snapshot


@command_component(
    version="1.0.0",
    display_name="Drop duplicates",
    description="Keep one of the texts that differ only in case and white space.",
    environment="azureml:tfhub-blocks-cpu:0e8ca113f6d0",
    tags={"role": "cpu"},
)
def drop_duplicates(
    snapshot: Input(type="uri_folder", description="Snapshot from snapshot_data"),
    kept: Output(type="uri_folder", description="Snapshot without the duplicates"),
):
    """Keep the first of each group of near-identical texts."""
    with step(drop_duplicates, locals()) as run:
        items = open_snapshot(run.path("snapshot"))
        groups = {}
        for item in items.items():
            groups.setdefault(" ".join(item.content.decode().lower().split()), item)
        unique = sorted(groups.values(), key=lambda item: item.id)
        write_snapshot(run.begin_output("kept", SNAPSHOT), unique, like=items)
