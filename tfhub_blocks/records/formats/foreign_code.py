"""Code that an MLflow model runs when it is loaded, found without loading the model."""

# decision 68

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tfhub_blocks.records.base.errors import BlocksError

MLMODEL_NAME = "MLmodel"
# The pin that tfhub-blocks writes into each of its models; see records.pins.pins.PIN_NAME.
_PIN_NAME = "encoder.toml"
MAX_RECORD_BYTES = 2**22
SHOWN = 8
# Keys of the metadata that tfhub-blocks writes into each of its models.
_OWN_KEYS = frozenset({"encoder_digest", "snapshot_digest"})
# Files that run code when they are read, by extension, for files without a telling beginning.
_CODE_SUFFIXES = {
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".dill": "pickle",
    ".cloudpickle": "pickle",
    ".joblib": "joblib",
    ".pt": "PyTorch pickle",
    ".pth": "PyTorch pickle",
    ".ckpt": "PyTorch pickle",
    ".h5": "Keras file, which may contain Lambda layers",
    ".hdf5": "Keras file, which may contain Lambda layers",
    ".keras": "Keras file, which may contain Lambda layers",
    ".py": "Python",
    ".so": "machine code",
    ".whl": "Python package",
}
_PICKLE_PROTOCOLS = b"\x02\x03\x04\x05"
_HDF5 = b"\x89HDF\r\n\x1a\n"


def check_trusted(model: Path, is_trusted: bool, where: str, remedy: str, what: str = "") -> None:
    """Refuse an MLflow model that tfhub-blocks did not build, unless a person trusts its code.

    Args:
        model: The folder of an MLflow model without a statement of tfhub-blocks about a model.
        is_trusted: True if a person trusts the code.
        where: The command or step, for messages.
        remedy: An instruction how to trust the code.
        what: The model as the user names it, for messages; its folder if empty.

    Raises:
        BlocksError: The code is not trusted; or tfhub-blocks built the model, whose statement is
            then missing or of another kind.
    """
    if is_own(model):
        raise BlocksError(
            where,
            what or str(model),
            "tfhub-blocks built this model, but its statement is missing or describes another kind",
            "the statement that was written with the model",
            "Take the model again from its run or from the registry",
        )
    if not is_trusted:
        found = list(code_of(model))
        more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise BlocksError(
            where,
            what or str(model),
            "tfhub-blocks did not build this model, and loading it runs code: "
            + ", ".join(found[:SHOWN])
            + more,
            "a model of tfhub-blocks, or your trust in this code",
            remedy,
        )


def is_own(model: Path) -> bool:
    """Return True if the content of a model's folder shows that tfhub-blocks built it."""
    return (model / _PIN_NAME).exists() or bool(
        _OWN_KEYS & _table(_record(model), "metadata").keys()
    )


def code_of(model: Path) -> Iterator[str]:
    """Yield what loading an MLflow model runs: modules, pickles, and folders of code."""
    flavors = _table(_record(model), "flavors")
    function = _table(flavors, "python_function")
    for key, told in (
        ("loader_module", "loader module"),
        ("python_model", "Python model"),
        ("model_code_path", "program"),
        ("code", "code folder"),
    ):
        if function.get(key):
            yield f"{told} {str(function[key])[:80]!r}"
    yield from (f"flavor {str(name)[:80]!r}" for name in flavors if name != "python_function")
    for path in sorted(model.rglob("*")):
        kind = _kind(path)
        if kind:
            yield f"{path.relative_to(model).as_posix()!r} ({kind})"


def _kind(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        start = file.read(8)
    if start[:1] == b"\x80" and start[1:2] in _PICKLE_PROTOCOLS and len(start) > 1:
        return "pickle"
    return _CODE_SUFFIXES[".h5"] if start == _HDF5 else _CODE_SUFFIXES.get(path.suffix.lower(), "")


def _record(model: Path) -> Mapping[str, Any]:
    """Return the content of ``MLmodel``; an unreadable file has none, and MLflow reports it."""
    path = model / MLMODEL_NAME
    try:
        if path.stat().st_size > MAX_RECORD_BYTES:
            return {}
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return record if isinstance(record, Mapping) else {}


def _table(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = record.get(key)
    return found if isinstance(found, Mapping) else {}
