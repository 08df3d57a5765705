"""Operations of a SavedModel, and the packages with operations that TensorFlow lacks."""

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from tfhub_blocks.compute.tf.model_check import read_saved_model
from tfhub_blocks.compute.tf.tensorflow_setup import registered_operations, tf
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.pins.pins import SAVED_MODEL_NAME, OperationPackage, Operations

PACKAGES: tuple[OperationPackage, ...] = get_args(OperationPackage)
# Read before any package is imported: the operations that need no package.
CORE = registered_operations()
SHOWN = 5


def read_operations(saved_model: Path, where: str) -> Operations:
    """Return the operations of the SavedModels in a folder, without loading the SavedModels.

    If operations are missing, the installed packages that have them are imported.

    Raises:
        BlocksError: A file is not a SavedModel, or no installed package has an operation.
    """
    used: set[str] = set()
    for path in sorted(saved_model.rglob(SAVED_MODEL_NAME)):
        used |= _used(path, where)
    missing, needed = sorted(used - CORE), []
    for package in PACKAGES:
        if missing and _is_imported(package):
            found = registered_operations().intersection(missing)
            missing = [name for name in missing if name not in found]
            needed += [package] if found else []
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise BlocksError(
            where,
            str(saved_model),
            f"TensorFlow {tf.__version__} has no operation {', '.join(missing[:SHOWN])}{more}",
            f"operations of TensorFlow, or of {', '.join(PACKAGES)} if installed",
            _remedy(),
        )
    return Operations(tuple(sorted(used)), tuple(needed))


def import_packages(packages: Iterable[OperationPackage], where: str) -> None:
    """Import the packages that a pin names, so that an encoder's operations are registered.

    Raises:
        BlocksError: A package is not installed.
    """
    for package in packages:
        if not _is_imported(package):
            problem = f"{package} is not installed, and the pin requires it"
            raise BlocksError(where, "operations", problem, "", _remedy())


def _used(path: Path, where: str) -> set[str]:
    saved = read_saved_model(path, where)
    graphs = [meta_graph.graph_def for meta_graph in saved.meta_graphs]
    functions = [function for graph in graphs for function in graph.library.function]
    nodes = [node for graph in graphs for node in graph.node]
    nodes += [node for function in functions for node in function.node_def]
    # A node can call a function by its name, as if the function were an operation.
    return {node.op for node in nodes} - {function.signature.name for function in functions}


def _is_imported(package: OperationPackage) -> bool:
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


def _remedy() -> str:
    series = ".".join(tf.__version__.split(".")[:2])
    return (
        f"Add tensorflow-text=={series}.* to the environment's requirements.in if the encoder is "
        "a text model, or choose an encoder without these operations"
    )
