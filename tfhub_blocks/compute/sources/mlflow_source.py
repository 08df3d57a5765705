"""MLflow models: registered models, and models of a run."""

import re
from pathlib import Path

from tfhub_blocks.records.base.errors import BlocksError


class MlflowSource:
    """A source that downloads with MLflow, from the configured tracking server and registry."""

    takes = "an MLflow model (models:/NAME/VERSION, runs:/ID/PATH)"

    def matches(self, handle: str) -> bool:
        """Return True if the handle is a URI of a registered model or of a run."""
        return re.match(r"(models|runs):/", handle) is not None

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """Download the files of the model into the folder; return the folder.

        Raises:
            BlocksError: MLflow could not download the model.
        """
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            mlflow.artifacts.download_artifacts(artifact_uri=handle, dst_path=str(folder))
        except (MlflowException, OSError) as error:
            raise BlocksError(
                "encoder",
                handle,
                f"the download failed ({' '.join(str(error).split())})",
                f"a model of the registry at {mlflow.get_registry_uri()}",
                "Check the name, the version and MLFLOW_TRACKING_URI",
            ) from error
        return folder
