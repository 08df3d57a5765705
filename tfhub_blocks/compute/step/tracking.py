"""MLflow tracking of a step: to SQLite in a local run, to the workspace on Azure ML."""

from collections.abc import Mapping
from pathlib import Path

import mlflow


def track(name: str, values: Mapping[str, float], tags: Mapping[str, str], folder: Path) -> None:
    """Log numbers, tags and a folder of files to MLflow.

    They become one new run, or on Azure ML a part of the job's run.
    """
    with mlflow.start_run(run_name=name):
        mlflow.log_metrics(dict(values))
        mlflow.set_tags(dict(tags))
        mlflow.log_artifacts(str(folder), name)
