"""Models that MLflow keeps: registered ones, and those of a run."""

import re
from pathlib import Path

from tfhub_blocks.records.base.errors import BlocksError


class MlflowSource:
    """Lets MLflow download from the registry or the run, as it is set up here."""

    takes = "an MLflow model (models:/NAME/VERSION, runs:/ID/PATH)"

    def matches(self, handle: str) -> bool:
        """Whether it is one of these URIs."""
        return re.match(r"(models|runs):/", handle) is not None

    def fetch(self, handle: str, folder: Path, max_bytes: int) -> Path:
        """The folder, with the files of the model."""
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            mlflow.artifacts.download_artifacts(artifact_uri=handle, dst_path=str(folder))
        except (MlflowException, OSError) as error:
            raise BlocksError(
                "encoder",
                handle,
                f"MLflow got nothing ({' '.join(str(error).split())})",
                f"a model of the registry at {mlflow.get_registry_uri()}",
                "check name, version and MLFLOW_TRACKING_URI",
            ) from error
        return folder
