"""Model assets of Azure ML, which a step is given and never asks for."""

from pathlib import Path

from tfhub_blocks.records.base.errors import BlocksError

PREFIX = "azureml:"


class AssetSource:
    """Says how an asset reaches a step: nothing that runs inside of one knows the workspace."""

    takes = "a model asset (azureml:NAME:VERSION, azureml://registries/...)"

    def matches(self, handle: str) -> bool:
        """Whether it has the prefix."""
        return handle.startswith(PREFIX)

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """Nothing; the command line fetches assets before it asks for a folder."""
        raise BlocksError(
            "encoder",
            handle,
            "a step does not ask the workspace",
            "the asset at port source, which Azure ML mounts",
            f"give the pipeline's input encoder Input(type='custom_model', path='{handle}')",
        )
