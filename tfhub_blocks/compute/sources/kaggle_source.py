"""Kaggle models, by the handles of the kagglehub library."""

import os
from pathlib import Path

from tfhub_blocks.records.base.errors import BlocksError

PREFIX = "kagglehub:"


class KaggleSource:
    """A source that downloads with kagglehub, which also signs in if a licence requires this."""

    takes = "kagglehub:OWNER/MODEL/FRAMEWORK/VARIATION/VERSION"

    def matches(self, handle: str) -> bool:
        """Return True if the handle has the prefix of kagglehub."""
        return handle.startswith(PREFIX)

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """Download the files of the model into the folder; return the folder.

        Raises:
            BlocksError: kagglehub is not installed, or the download failed.
        """
        os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")
        try:
            import kagglehub
        except ModuleNotFoundError as error:
            raise BlocksError(
                "encoder",
                handle,
                "kagglehub is not installed, and the environments of steps do not contain it",
                "an environment with kagglehub",
                "Run `pip install kagglehub` locally, and pin the encoder there with `tfhub-blocks "
                "encoder pin --loading mounted` or baked",
            ) from error
        try:
            kagglehub.model_download(handle.removeprefix(PREFIX), output_dir=str(folder))
        except Exception as error:  # kagglehub raises errors of requests, its own, or ValueError
            raise BlocksError(
                "encoder",
                handle,
                f"the download failed ({type(error).__name__}: {' '.join(str(error).split())})",
                "a Kaggle model that your account may download",
                "Check the handle, its version, the network, and your consent to the licence on "
                "Kaggle",
            ) from error
        return folder
