"""Models of Kaggle by the handles of the kagglehub library."""

import os
from pathlib import Path

from tfhub_blocks.records.base.errors import BlocksError

PREFIX = "kagglehub:"


class KaggleSource:
    """Lets kagglehub download, which also signs in where a licence asks for that."""

    takes = "kagglehub:OWNER/MODEL/FRAMEWORK/VARIATION/VERSION"

    def matches(self, handle: str) -> bool:
        """Whether it has the prefix."""
        return handle.startswith(PREFIX)

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """The folder, with the files of the model."""
        os.environ.setdefault("KAGGLEHUB_VERBOSITY", "error")
        try:
            import kagglehub
        except ModuleNotFoundError as error:
            raise BlocksError(
                "encoder",
                handle,
                "kagglehub is not installed here, as in the environments of steps",
                "pip install kagglehub",
                "pin the encoder where it is, and decide for mounted or baked",
            ) from error
        try:
            kagglehub.model_download(handle.removeprefix(PREFIX), output_dir=str(folder))
        except Exception as error:  # requests', its own, and ValueError, by what is wrong
            raise BlocksError(
                "encoder",
                handle,
                f"kagglehub got nothing ({type(error).__name__}: {' '.join(str(error).split())})",
                "a model of Kaggle that this account may download",
                "check handle, version, network and consent to the licence on Kaggle",
            ) from error
        return folder
