"""drop_near_duplicates: keep one of the pictures that look the same at nine by eight pixels."""

from mldesigner import Input, Output, command_component

from tfhub_blocks import SNAPSHOT, open_snapshot, step, write_snapshot


@command_component(
    version="1.0.0",
    display_name="Drop near-duplicates",
    description="Keep one of the pictures that look the same at nine by eight pixels.",
    environment="azureml:tfhub-blocks-cpu:0e8ca113f6d0",
    tags={"role": "cpu"},
)
def drop_near_duplicates(
    snapshot: Input(type="uri_folder", description="Snapshot from snapshot_data"),
    kept: Output(type="uri_folder", description="Snapshot without the near-duplicates"),
):
    """Keep the first of each group of pictures with equal steps of brightness (dHash)."""
    from io import BytesIO

    import numpy as np
    from PIL import Image

    with step(drop_near_duplicates, locals()) as run:
        items, first = open_snapshot(run.path("snapshot")), {}
        for item in items.items():
            small = Image.open(BytesIO(item.content)).convert("L").resize((9, 8))
            pixels = np.asarray(small, dtype=int)
            first.setdefault((pixels[:, 1:] > pixels[:, :-1]).tobytes(), item)
        unique = sorted(first.values(), key=lambda item: item.id)
        write_snapshot(run.begin_output("kept", SNAPSHOT), unique, like=items)
