"""The scoring program inside a model. It needs only the packages that the model pins.

A model contains this file in ``program.zip``. Python reads no bytecode cache for a zip file, so the
program that runs is the source in the zip file, whatever lies next to it.
"""

# decisions 5, 8, 58 and 75

import hashlib
import importlib
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Importing Keras takes two fifths of TensorFlow's import time, and TensorFlow works without it.
_KERAS = "keras.src.optimizers"
sys.modules.setdefault(_KERAS, None)  # type: ignore[arg-type]
import tensorflow as tf  # noqa: E402

if sys.modules[_KERAS] is None:
    del sys.modules[_KERAS]

# Items are answered in batches of this size, so that memory does not grow with the table.
BATCH_SIZE = 64
PROGRAM_NAME = "program.zip"
SAVED_MODEL_NAME = "artifacts/saved_model"
_STATEMENT_NAME = "lineage.json"
# MLflow adds this file to a model that it downloads from a registry.
_ADDED_BY_MLFLOW = "registered_model_meta"


class PackedScorer:
    """The model's program: from items (bytes of a file, or text) to labels and probabilities."""

    def __init__(self, folder: Path, config: Mapping[str, Any], program: bytes) -> None:
        """Load the SavedModel once, and its decoding program if the model has one."""
        for package in config["imports"]:  # they register operations
            importlib.import_module(package)
        archive = zipfile.ZipFile(io.BytesIO(program))
        self._contents_of = _program(archive, config["contents"])["contents_of"]
        self._is_text, self._decode = config["is_text"], None
        if name := config["decoder"]:
            self._decode = _program(archive, name)["decode"]
        self._decoder_options = config["decoder_options"]
        with _without_pattern(folder / SAVED_MODEL_NAME) as place:
            self._model = tf.saved_model.load(str(place))
        self._serve = self._model.signatures["prepared"]

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return for each item the label, its probability, and all probabilities by label order.

        Raises:
            ValueError: An item cannot be read or decoded. The message names its place and reason.
        """
        items = self._contents_of(model_input, self._is_text)
        answers = [
            self._serve(items=self._prepared(items, range(len(items))[start : start + BATCH_SIZE]))
            for start in range(0, len(items), BATCH_SIZE)
        ]
        labels = [label.decode() for answer in answers for label in answer["label"].numpy()]
        probabilities = [row for answer in answers for row in answer["probabilities"].numpy()]
        return pd.DataFrame(
            {
                "label": labels,
                "probability": [float(row.max()) for row in probabilities],
                "probabilities": [row.astype(float) for row in probabilities],
            }
        )

    def _prepared(self, items: Sequence[Any], batch: range) -> tf.Tensor:
        prepared = []
        for index in batch:
            try:
                prepared.append(self._decoded(items[index]))
            except ValueError as error:
                place = f"item {index}: " if len(items) > 1 else ""
                raise ValueError(f"{place}{error}") from error
        if isinstance(prepared[0], np.ndarray):
            return tf.convert_to_tensor(np.stack(prepared))
        return tf.constant(prepared, tf.string)

    def _decoded(self, item: Any) -> Any:
        if not item:
            raise ValueError("the item is empty")
        if self._is_text and item.isspace():
            raise ValueError("the text is empty")
        return item if self._decode is None else self._decode(item, **self._decoder_options)


def _program(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    """Return the names that a file of the model's program defines."""
    namespace: dict[str, Any] = {"__name__": name}
    exec(compile(archive.read(name), name, "exec"), namespace)  # noqa: S102 - checked bytes
    return namespace


@contextmanager
def _without_pattern(saved_model: Path) -> Iterator[Path]:
    """Yield a path of a SavedModel in which TensorFlow sees no pattern, such as ``[v2]``."""
    if "[" not in str(saved_model.absolute()):
        yield saved_model
        return
    with tempfile.TemporaryDirectory() as scratch:
        link = Path(scratch) / "saved_model"
        link.symlink_to(saved_model.absolute())
        yield link


class LoadedModel:
    """The object that MLflow calls; ``python_model`` is the program without MLflow's checks."""

    def __init__(self, scorer: PackedScorer) -> None:
        self.python_model = scorer

    def predict(self, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return the answers to the items of a table."""
        return self.python_model.predict(None, model_input, params)


def _load_pyfunc(path: str, model_config: Mapping[str, Any]) -> LoadedModel:
    """Load the model in a folder. MLflow calls this function.

    Raises:
        ValueError: The folder does not contain exactly the files that its lineage states.
    """
    return LoadedModel(PackedScorer(Path(path), model_config, check_model(Path(path))))


def check_model(folder: Path) -> bytes:
    """Check every file of a model against its lineage; return the bytes of ``program.zip``.

    Raises:
        ValueError: The lineage is missing, a file is missing or has other bytes, or the folder
            contains anything that the lineage does not list.
    """
    try:
        text = (folder / _STATEMENT_NAME).read_text(encoding="utf-8")
        subjects = json.loads(text)["subject"][1:]
        stated = {each["name"]: each["digest"]["sha256"] for each in subjects}
    except (OSError, ValueError, LookupError, TypeError) as error:
        problem = f"{_STATEMENT_NAME} is missing or invalid ({error})"
        raise _changed(folder, problem, "Load the complete output of a step") from error
    found = dict(_files(folder, ""))
    for name in sorted(found.keys() - stated.keys() - {_STATEMENT_NAME, _ADDED_BY_MLFLOW}):
        problem = f"{name} is not listed in {_STATEMENT_NAME}"
        raise _changed(folder, problem, f"Delete {folder / name}")
    for name, expected in sorted(stated.items()):
        path = found.get(name)
        if path is None:
            raise _changed(folder, f"{name} is missing", "Restore the model from a copy")
        with path.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if actual != expected:
            problem = f"{name} has sha256 {actual}. Expected {expected}"
            raise _changed(folder, problem, "Restore the model from a copy")
    program = (folder / PROGRAM_NAME).read_bytes()
    if hashlib.sha256(program).hexdigest() != stated.get(PROGRAM_NAME):
        raise _changed(folder, f"{PROGRAM_NAME} was changed", "Restore the model from a copy")
    return program


def _files(folder: Path, prefix: str) -> Iterator[tuple[str, Path]]:
    """Yield each file by its path; links, special files and empty folders are refused."""
    with os.scandir(folder) as scan:
        entries = list(scan)
    if prefix and not entries:
        raise _changed(folder, "the folder is empty", "Delete this folder")
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path), f"{prefix}{entry.name}/")
        elif entry.is_file(follow_symlinks=False):
            yield prefix + entry.name, Path(entry.path)
        else:
            problem = f"{prefix}{entry.name} is a link or a special file"
            raise _changed(folder, problem, f"Delete {entry.path}")


def _changed(folder: Path, problem: str, remedy: str) -> ValueError:
    return ValueError(f"[load_model > {folder}] {problem}. {remedy}.")
