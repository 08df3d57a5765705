"""Model assets of Azure ML, which a step gets as an input and cannot fetch by itself."""

from pathlib import Path

from tfhub_blocks.records.base.errors import BlocksError

PREFIX = "azureml:"


class AssetSource:
    """A source that explains how an asset reaches a step: code inside a step has no workspace."""

    takes = "a model asset (azureml:NAME:VERSION, azureml://registries/...)"

    def matches(self, handle: str) -> bool:
        """Return True if the handle has the prefix of model assets."""
        return handle.startswith(PREFIX)

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """Raise an error: the command line fetches assets before it opens a folder.

        Raises:
            BlocksError: Always.
        """
        raise BlocksError(
            "encoder",
            handle,
            "a step cannot fetch a model asset",
            "the asset at port source, where Azure ML mounts it",
            f"Pass Input(type='custom_model', path='{handle}') as the pipeline's input encoder",
        )
