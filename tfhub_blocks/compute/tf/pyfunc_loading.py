"""The loading of an MLflow model from a private copy, so that only checked bytes run."""

# decisions 58 and 66

import tempfile
from pathlib import Path
from typing import Any

import mlflow

from tfhub_blocks.compute.tf.model_check import check_saved_model
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.folders import stage_content
from tfhub_blocks.records.formats.models import SAVED_MODEL_NAME
from tfhub_blocks.records.pins.pins import PIN_NAME, read_pin

BYTECODE_SUFFIXES = (".pyc", ".pyo")


def load_pyfunc(path: Path, where: str) -> tuple[Any, tempfile.TemporaryDirectory[str]]:
    """Copy a model, load the copy with MLflow, and return the model with the copy's folder.

    Each file of the model is checked while it is copied. The copy contains no bytecode, so Python
    compiles the model's source; the caches that Python writes stay in the copy. The operations of a
    SavedModel of tfhub-blocks are checked in the copy, which is what MLflow loads. The folder is
    deleted with the returned object, which must live as long as the model.

    Args:
        path: The folder of an MLflow model.
        where: The command or step, for messages.

    Raises:
        BlocksError: A file was changed or added, or the model contains bytecode or an operation
            that is not allowed.
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
    if (folder / SAVED_MODEL_NAME).exists():
        pin = read_pin(folder / PIN_NAME) if (folder / PIN_NAME).is_file() else None
        check_saved_model(folder / SAVED_MODEL_NAME, where, (pin and pin.operations.allowed) or ())
    return mlflow.pyfunc.load_model(str(folder)), copy
