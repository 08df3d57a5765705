"""Models: preprocessing, encoder and head as one self-contained MLflow model."""

from pathlib import Path
from typing import Any

import yaml

from tfhub_blocks.records.base.digests import tree_digest
from tfhub_blocks.records.base.folders import Folder, Format, open_folder
from tfhub_blocks.records.base.lineage import Lineage
from tfhub_blocks.records.formats.runtimes import RUNTIME_NAME

MODEL = Format("model", 1)
# Any other MLflow model, as check_latency writes it with its runtime.
PYFUNC = Format("pyfunc", 1)
SAVED_MODEL_NAME = "artifacts/saved_model"


def open_model(path: Path, where: str) -> tuple[Folder, dict[str, Any]]:
    """Open a finished model, check every file, and return the folder and its metadata.

    Raises:
        BlocksError: The folder is not a finished model, or a file was changed.
    """
    folder = open_folder(path, MODEL, where).check()
    record = yaml.safe_load((path / "MLmodel").read_text(encoding="utf-8"))
    return folder, record["metadata"]


def bare_digest(lineage: Lineage) -> str:
    """Return the digest of a model without its runtime: of exactly the files that were evaluated.

    Evidence about these files is valid for the model with any runtime that returns the same
    answers; ``check_latency`` proves that.
    """
    files = {name: sha256 for name, sha256 in lineage.files.items() if name != RUNTIME_NAME}
    return tree_digest(files)
