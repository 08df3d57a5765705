"""Two real servers: of a model of ours that takes pictures, and of somebody's that takes texts."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from serving_process import Server, serving

from tfhub_blocks.compute.latency.accelerated_model import copy_with_runtime
from tfhub_blocks.records.base.folders import begin_folder, finish_folder
from tfhub_blocks.records.base.lineage import Provenance
from tfhub_blocks.records.formats.models import MODEL
from tfhub_blocks.records.formats.runtimes import Runtime
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
def compiled_model(colours_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of colours with OpenVINO as its runtime, as check_latency writes it."""
    folder = tmp_path_factory.mktemp("compiled") / "model"
    provenance = Provenance("check_latency", {}, (), "0" * 64, "0" * 64, "", "")
    runtime = Runtime("openvino", threads=2, largest_batch=2)
    copy_with_runtime(colours_model, begin_folder(folder, provenance), runtime)
    finish_folder(folder, "served_model", MODEL, provenance)
    return folder


@pytest.fixture(scope="session")
def answers(colours_model: Path, items: list[bytes]) -> list[list[float]]:
    """What the model's own SavedModel answers to the items."""
    scorer = mlflow.pyfunc.load_model(str(colours_model)).unwrap_python_model()
    table = scorer.predict(None, pd.DataFrame({"contents": items}))
    return [row.tolist() for row in table["probabilities"]]


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
