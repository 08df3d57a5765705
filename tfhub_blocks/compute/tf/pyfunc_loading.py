"""The loading of an MLflow model from a private copy, so that only checked bytes run."""

# decision 58

import tempfile
from pathlib import Path
from typing import Any

import mlflow

from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import stage_content

BYTECODE_SUFFIXES = (".pyc", ".pyo")


def load_pyfunc(path: Path, where: str) -> tuple[Any, tempfile.TemporaryDirectory[str]]:
    """Copy a model, load the copy with MLflow, and return the model with the copy's folder.

    Each file of the model is checked while it is copied. The copy contains no bytecode, so Python
    compiles the model's source; the caches that Python writes stay in the copy. The folder is
    deleted with the returned object, which must live as long as the model.

    Args:
        path: The folder of an MLflow model.
        where: The command or step, for messages.

    Raises:
        BlocksError: A file was changed or added, or the model contains bytecode.
        Exception: The model's own program or MLflow raised it.
    """
    copy = tempfile.TemporaryDirectory(prefix="tfhub-blocks-")
    folder = Path(copy.name) / "model"
    bytecode = [it for it in stage_content(path, folder) if it.endswith(BYTECODE_SUFFIXES)]
    if bytecode:
        raise BlocksError(
            where,
            bytecode[0],
            f"the model in {path} contains bytecode, {bytecode[0]}, which can differ from its "
            "source",
            "Python source only",
            f"Delete {path / bytecode[0]}; Python needs only the source",
        )
    return mlflow.pyfunc.load_model(str(folder)), copy
