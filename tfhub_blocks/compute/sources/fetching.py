"""The fetching of an encoder by its handle, from the first source that takes the handle."""

import os
from collections.abc import Sequence
from pathlib import Path

from tfhub_blocks.compute.sources.asset_source import AssetSource
from tfhub_blocks.compute.sources.encoder_source import MAX_BYTES, EncoderSource
from tfhub_blocks.compute.sources.folder_source import FolderSource
from tfhub_blocks.compute.sources.hub_source import HubSource
from tfhub_blocks.compute.sources.kaggle_source import KaggleSource
from tfhub_blocks.compute.sources.mlflow_source import MlflowSource
from tfhub_blocks.compute.sources.unpacking import ArchiveSource
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import SAVED_MODEL_FOLDER, SAVED_MODEL_NAME, Pin

# In the order in which they are tried.
LOCAL_SOURCES: tuple[EncoderSource, ...] = (FolderSource(), ArchiveSource())
REMOTE_SOURCES: tuple[EncoderSource, ...] = (
    HubSource(),
    KaggleSource(),
    MlflowSource(),
    AssetSource(),
)
NO_CERTIFICATES = "TFHUB_DISABLE_CERT_VALIDATION"
# Files of models that are no SavedModel.
OTHER_FILES = {
    **dict.fromkeys((".keras", ".h5", ".hdf5"), "a Keras file"),
    **dict.fromkeys((".tflite", ".lite"), "a TensorFlow Lite model"),
    ".onnx": "an ONNX model",
    **dict.fromkeys((".pt", ".pth", ".safetensors"), "a file of weights for PyTorch"),
}
# An archive may contain a few files that the pin does not list; the comparison reports them.
_SLACK_BYTES = 2**26


def fetch_saved_model(
    handle: str, folder: Path, sources: Sequence[EncoderSource], pin: Pin | None
) -> Path:
    """Fetch the SavedModel of a handle, and return its folder; nothing is verified yet.

    Args:
        handle: The handle.
        folder: The folder for fetched files, which may be absent. It stays empty if the files are
            already on the local machine.
        sources: The sources to try, in order.
        pin: The pin of the encoder, if one exists: it limits the size of the download.

    Raises:
        BlocksError: No source takes the handle, or the source cannot provide a SavedModel.
    """
    if NO_CERTIFICATES in os.environ:
        raise BlocksError(
            "encoder",
            NO_CERTIFICATES,
            "the variable is set, so anyone on the network path could replace the model",
            "an environment without this variable",
            f"Unset {NO_CERTIFICATES}; for a private certificate authority set SSL_CERT_FILE",
        )
    if Path(handle).suffix.lower() in OTHER_FILES:
        raise _other_file(handle, Path(handle))
    source = next((source for source in sources if source.matches(handle)), None)
    if source is None:
        raise BlocksError(
            "encoder",
            handle,
            f"no source accepts the handle {handle!r}",
            "; ".join(source.takes for source in sources),
            "Pass a handle of one of these forms",
        )
    folder.mkdir(parents=True, exist_ok=True)
    pinned_bytes = sum(file.size_bytes for file in pin.files.values()) if pin else None
    max_bytes = MAX_BYTES if pinned_bytes is None else pinned_bytes + _SLACK_BYTES
    return saved_model_below(source.fetch(handle, folder, max_bytes), handle)


def _other_file(where: str, path: Path) -> BlocksError:
    kind = OTHER_FILES[path.suffix.lower()]
    remedy = "Download or export the model as a SavedModel"
    if kind == "a Keras file":
        load = f"keras.models.load_model('{path}', compile=False)"
        remedy = (
            "Convert the file if you trust it, because loading may run its code: "
            f"python -c \"import keras; {load}.export('saved_model')\". Then pass saved_model"
        )
    problem = f"{path.name} is {kind}, which is no SavedModel"
    return BlocksError(where, str(path), problem, "the folder of a SavedModel", remedy)


def saved_model_below(folder: Path, where: str) -> Path:
    """Return the folder of the only SavedModel: at the top, in ``saved_model``, or below.

    Of folders with numbers as names, as TensorFlow Serving has them, the highest is returned.

    Raises:
        BlocksError: The folder contains no SavedModel, or several.
    """
    for near in (folder, folder / SAVED_MODEL_FOLDER):
        if (near / SAVED_MODEL_NAME).is_file():
            return near
    if (folder / SAVED_MODEL_FOLDER).is_dir():  # The comparison with the pin lists missing files.
        return folder / SAVED_MODEL_FOLDER
    found = sorted(path.parent for path in folder.rglob(SAVED_MODEL_NAME))
    if len(found) == 1:
        return found[0]
    versions = [path for path in found if path.parent == folder and path.name.isdecimal()]
    if versions and len(versions) == len(found):
        # A folder of TensorFlow Serving: it serves the highest version.
        return max(versions, key=lambda path: int(path.name))
    others = sorted(path for path in folder.glob("*.*") if path.suffix.lower() in OTHER_FILES)
    if others and not found:
        raise _other_file(where, others[0])
    names = ", ".join(str(path.relative_to(folder)) for path in found[:3])
    raise BlocksError(
        where,
        SAVED_MODEL_NAME,
        f"the folder contains {len(found)} SavedModels ({names})"
        if found
        else "the folder contains no SavedModel",
        "the folder of one SavedModel",
        "Pass the folder that tf.saved_model.save or the download wrote",
    )
