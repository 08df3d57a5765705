"""Any MLflow pyfunc as an answerer."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import mlflow
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tfhub_blocks.compute.answering.answerers import (
    Answerer,
    Content,
    UndecodableError,
    answered_at_once,
)
from tfhub_blocks.compute.tf.saved_model_loading import first_line
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.runtimes import Runtime

PROBABILITIES = "probabilities"


class PyfuncAnswerer(Answerer):
    """A pyfunc that takes a column of contents, called from one thread at a time.

    It gives a table with a column ``probabilities`` of lists, a table of numbers, or an array
    [n, classes]. Columns are named by the metadata's ``labels``, or the table's, or their numbers.
    """

    def __init__(self, path: Path, runtime: Runtime, where: str) -> None:
        self.input, self.runtime = None, runtime
        self._where, self._path = where, path
        try:
            self._model = mlflow.pyfunc.load_model(str(path))
        except Exception as error:  # it is somebody's code, too
            raise BlocksError(
                where,
                str(path),
                f"MLflow cannot load it ({first_line(error)})",
                "a model whose packages are in this environment",
                "add what it needs to the environment, or save it again for this one",
            ) from error
        schema = self._model.metadata.get_input_schema()
        self._column = schema.input_names()[0] if schema and schema.has_input_names() else 0
        self._is_text = bool(schema) and str(schema.input_types()[0]).endswith("string")
        self._lock = threading.Lock()
        metadata = self._model.metadata.metadata or {}
        self.labels = tuple(map(str, metadata.get("labels", ())))

    @property
    def served_as(self) -> Literal["binary", "string"]:
        """As its signature says."""
        return "string" if self._is_text else "binary"

    def prepared(self, content: Content) -> Content:
        """As its signature wants it."""
        if self._is_text and isinstance(content, bytes):
            try:
                return content.decode()
            except UnicodeDecodeError as error:
                raise UndecodableError(f"it is not UTF-8 ({error})") from error
        return content.encode() if isinstance(content, str) and not self._is_text else content

    def answered(self, prepared: Sequence[Content]) -> NDArray[np.float32]:
        """All of them in one call; a model that fails for one item alone cannot decode that."""
        return answered_at_once(self.ask, prepared)

    def ask(self, prepared: Sequence[Content]) -> NDArray[np.float32]:
        """As ``answered``, but who fails does not tell for which item.

        Raises:
            UndecodableError: The model fails.
        """
        try:
            with self._lock:
                given = self._model.predict(pd.DataFrame({self._column: list(prepared)}))
        except Exception as error:  # it is somebody's code
            raise UndecodableError(first_line(error)) from error
        return self._rows(given, len(prepared))

    def _rows(self, given: Any, count: int) -> NDArray[np.float32]:
        names: Sequence[Any] = ()
        if isinstance(given, pd.DataFrame) and PROBABILITIES in given:
            given = np.stack(given[PROBABILITIES].to_list())
        elif isinstance(given, pd.DataFrame):
            names, given = list(given.columns), given.to_numpy()
        rows = np.asarray(given)
        if rows.ndim != 2 or len(rows) != count or rows.dtype.kind not in "fiu":
            raise BlocksError(
                self._where,
                str(self._path),
                f"for {count} items it gives {rows.dtype} of shape {list(rows.shape)}",
                f"numbers, [{count}, classes], or a column {PROBABILITIES!r} of lists of them",
                "wrap the model so that it gives a number for each class",
            )
        if self.labels and len(self.labels) != rows.shape[1]:
            raise BlocksError(
                self._where,
                str(self._path),
                f"it gives {rows.shape[1]} numbers for an item and has {len(self.labels)} labels",
                "a number for each label, the same ones for every item",
                "correct `labels` in the model's metadata, or what it gives",
            )
        if not self.labels:
            self.labels = tuple(map(str, names or range(rows.shape[1])))
        return rows.astype(np.float32)
