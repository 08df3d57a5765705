"""Two real servers: of a model of ours that takes pictures, and of somebody's that takes texts."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from serving_process import Server, serving

from tfhub_blocks.records.formats.snapshots import open_snapshot

LONG_OR_SHORT = """
import mlflow
import pandas as pd


class LongOrShort(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        long = [min(len(text) / 20, 1.0) for text in model_input.iloc[:, 0]]
        return pd.DataFrame({"probabilities": [[1 - each, each] for each in long]})


mlflow.models.set_model(LongOrShort())
"""


@pytest.fixture(scope="session")
def items(coloured_snapshot: Path) -> list[bytes]:
    """The contents of the snapshot's items."""
    batches = open_snapshot(coloured_snapshot, "test").batches()
    return [content for batch in batches for content in batch["content"].to_pylist()]


@pytest.fixture(scope="session")
def server(colours_model: Path) -> Iterator[Server]:
    with serving(str(colours_model), "--max-body-mib", "1", "--waiting", "32") as server:
        yield server


@pytest.fixture(scope="session")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pyfunc from code that knows short texts from long ones."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "code.py").write_text(LONG_OR_SHORT)
    mlflow.pyfunc.save_model(
        folder / "lengths",
        python_model=str(folder / "code.py"),
        signature=ModelSignature(Schema([ColSpec(DataType.string, "text")])),
        metadata={"labels": ["short", "long"]},
        pip_requirements=[],
    )
    return folder / "lengths"


@pytest.fixture(scope="session")
def text_server(text_model: Path) -> Iterator[Server]:
    with serving(str(text_model), "--trust-code") as server:
        yield server
