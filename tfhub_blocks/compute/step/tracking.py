"""What a step sends to MLflow: on this machine to SQLite, on Azure ML to the workspace."""

from collections.abc import Mapping
from pathlib import Path

import mlflow


def track(name: str, values: Mapping[str, float], tags: Mapping[str, str], folder: Path) -> None:
    """Send numbers, tags and a folder of files, as one run, or into the job's run on Azure ML."""
    with mlflow.start_run(run_name=name):
        mlflow.log_metrics(dict(values))
        mlflow.set_tags(dict(tags))
        mlflow.log_artifacts(str(folder), name)
