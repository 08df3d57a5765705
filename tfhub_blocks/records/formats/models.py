"""A model: preprocessing, encoder and head as one self-contained MLflow model."""

from pathlib import Path
from typing import Any

import yaml

from tfhub_blocks.records.base.digests import tree_digest
from tfhub_blocks.records.base.folders import Folder, Format, open_folder
from tfhub_blocks.records.base.lineage import Lineage
from tfhub_blocks.records.formats.runtimes import RUNTIME_NAME

MODEL = Format("model", 1)
# Any other MLflow model, as check_latency gives it with its runtime.
PYFUNC = Format("pyfunc", 1)
SAVED_MODEL_NAME = "artifacts/saved_model"


def open_model(path: Path, where: str) -> tuple[Folder, dict[str, Any]]:
    """A finished model with every file checked, and its metadata.

    Raises:
        BlocksError: The folder holds no finished model, or a file was changed.
    """
    folder = open_folder(path, MODEL, where).check()
    record = yaml.safe_load((path / "MLmodel").read_text(encoding="utf-8"))
    return folder, record["metadata"]


def bare_digest(lineage: Lineage) -> str:
    """The digest of a model without its runtime: of the very files that were evaluated.

    What evidence says of these holds for the model with any runtime, as far as that answers the
    same, which ``check_latency`` proves.
    """
    files = {name: sha256 for name, sha256 in lineage.files.items() if name != RUNTIME_NAME}
    return tree_digest(files)
