"""Models: preprocessing, encoder and head as one self-contained MLflow model."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from tfhub_blocks.records.base.digests import tree_digest
from tfhub_blocks.records.base.folders import Folder, Format, open_folder
from tfhub_blocks.records.base.lineage import Lineage
from tfhub_blocks.records.formats.runtimes import RUNTIME_NAME

MODEL = Format("model", 1)
# Any other MLflow model, as check_latency writes it with its runtime.
PYFUNC = Format("pyfunc", 1)
# The items that the model learned from or was chosen on: the first eight bytes of each id, sorted.
TRAINING_ITEMS_NAME = "training_items.bin"
# Test items whose features nearly equal those of a training item, in the same form.
FEATURE_TWINS_NAME = "feature_twins.bin"
# Of the metadata: warnings about the data that the model learned from.
DATA_WARNINGS = "data_warnings"
_PREFIX = np.dtype(">u8")
SAVED_MODEL_NAME = "artifacts/saved_model"
PROGRAM_NAME = "program.zip"
# The signature of the SavedModel for prepared items, which the model's scoring program calls.
PREPARED = "prepared"
PROBABILITIES = "probabilities"


def open_model(path: Path, where: str) -> tuple[Folder, dict[str, Any]]:
    """Open a finished model, check every file, and return the folder and its metadata.

    Raises:
        BlocksError: The folder is not a finished model, or a file was changed.
    """
    folder = open_folder(path, MODEL, where).check()
    record = yaml.safe_load((path / "MLmodel").read_text(encoding="utf-8"))
    return folder, record["metadata"]


def write_training_items(
    folder: Path, ids: Iterable[str], earlier: NDArray[np.uint64] | None = None
) -> None:
    """Write the training items of a model into its folder.

    Args:
        folder: The model's unfinished folder.
        ids: The items that the model learned from or was chosen on.
        earlier: The training items of the model that the training started from.
    """
    items = np.unique(_prefixes(ids))
    if earlier is not None:
        items = np.union1d(items, earlier).astype(_PREFIX)
    (folder / TRAINING_ITEMS_NAME).write_bytes(items.tobytes())


def read_training_items(folder: Folder) -> NDArray[np.uint64] | None:
    """Read the training items of a model; None if its release did not record them."""
    if TRAINING_ITEMS_NAME not in folder.lineage.files:
        return None
    return np.frombuffer(folder.file(TRAINING_ITEMS_NAME).read_bytes(), _PREFIX)


def write_feature_twins(folder: Path, ids: Iterable[str]) -> None:
    """Write the test items with a twin by features into a model's folder, if there are any."""
    if len(items := np.unique(_prefixes(ids))):
        (folder / FEATURE_TWINS_NAME).write_bytes(items.tobytes())


def read_feature_twins(folder: Folder) -> NDArray[np.uint64]:
    """Read the test items of a model that have a twin by features."""
    if FEATURE_TWINS_NAME not in folder.lineage.files:
        return np.empty(0, _PREFIX)
    return np.frombuffer(folder.file(FEATURE_TWINS_NAME).read_bytes(), _PREFIX)


def are_training_items(items: NDArray[np.uint64], ids: Iterable[str]) -> NDArray[np.bool_]:
    """Return True for each id that is in the training items, or in the twins, of a model."""
    return np.isin(_prefixes(ids), items)


def _prefixes(ids: Iterable[str]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(bytes.fromhex(item[:16]) for item in ids), _PREFIX)


def bare_digest(lineage: Lineage) -> str:
    """Return the digest of a model without its runtime: of exactly the files that were evaluated.

    Evidence about these files is valid for the model with any runtime that returns the same
    answers; ``check_latency`` proves that.
    """
    files = {name: sha256 for name, sha256 in lineage.files.items() if name != RUNTIME_NAME}
    return tree_digest(files)
