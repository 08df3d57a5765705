"""MLflow tracking of a step: to SQLite in a local run, to the workspace on Azure ML."""

# decision 73

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import mlflow

from tfhub_blocks.records.base.folders import locked

# Set by the local engine, whose database all steps of all its runs share.
LOCK_VARIABLE = "TFHUB_BLOCKS_TRACKING_LOCK"


@contextmanager
def tracking_locked() -> Iterator[None]:
    """Wait until no other local step writes to the database, inside this context.

    SQLite and MLflow would give up after some seconds. On Azure ML there is nothing to wait for.
    """
    path = os.environ.get(LOCK_VARIABLE)
    if not path:
        yield
        return
    with locked(Path(path)):
        yield


def track(
    name: str,
    values: Mapping[str, float],
    tags: Mapping[str, str],
    folder: Path,
    series: Mapping[str, Sequence[float]] | None = None,
) -> None:
    """Log numbers, tags, a folder of files and series of numbers to MLflow.

    They become one new run, or on Azure ML a part of the job's run.
    """
    with tracking_locked(), mlflow.start_run(run_name=name):
        mlflow.log_metrics(dict(values))
        for key, found in (series or {}).items():
            for number, value in enumerate(found):
                mlflow.log_metric(key, value, step=number)
        mlflow.set_tags(dict(tags))
        mlflow.log_artifacts(str(folder), name)
