"""The answerer of an MLflow pyfunc."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tfhub_blocks.compute.answering.answerers import (
    Answerer,
    Content,
    UndecodableError,
    answered_at_once,
)
from tfhub_blocks.compute.tf.pyfunc_loading import load_pyfunc
from tfhub_blocks.compute.tf.saved_model_loading import first_line
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.formats.runtimes import Runtime

PROBABILITIES = "probabilities"


class PyfuncAnswerer(Answerer):
    """The answerer of a pyfunc that takes a column of contents; one thread calls it at a time.

    The pyfunc returns a table with a column ``probabilities`` of lists, a table of numbers, or an
    array [n, classes]. The labels are the metadata's ``labels``, else the names of the table's
    columns, else the numbers of the columns.
    """

    def __init__(self, path: Path, runtime: Runtime, where: str) -> None:
        self.input, self.runtime = None, runtime
        self._where, self._path = where, path
        try:
            self._model, self._copy = load_pyfunc(path, where)
        except BlocksError:
            raise
        except Exception as error:  # loading runs third-party code
            raise BlocksError(
                where,
                str(path),
                f"MLflow cannot load the model ({first_line(error)})",
                "a model whose packages are in this environment",
                "Add the model's packages to the environment, or save the model again for this "
                "environment",
            ) from error
        schema = self._model.metadata.get_input_schema()
        self._column = schema.input_names()[0] if schema and schema.has_input_names() else 0
        self._is_text = bool(schema) and str(schema.input_types()[0]).endswith("string")
        self._lock = threading.Lock()
        metadata = self._model.metadata.metadata or {}
        self.labels = tuple(map(str, metadata.get("labels", ())))

    @property
    def served_as(self) -> Literal["binary", "string"]:
        """The type of items by the signature of the model."""
        return "string" if self._is_text else "binary"

    def prepared(self, content: Content) -> Content:
        """Convert the content to the type in the model's signature.

        Raises:
            UndecodableError: The signature requires a text, and the content is not UTF-8.
        """
        if self._is_text and isinstance(content, bytes):
            try:
                return content.decode()
            except UnicodeDecodeError as error:
                raise UndecodableError(f"the text is not UTF-8 ({error})") from error
        return content.encode() if isinstance(content, str) and not self._is_text else content

    def answered(self, prepared: Sequence[Content]) -> NDArray[np.float32]:
        """Return answers, computed in one call.

        Raises:
            UndecodableError: The model fails for a single item; the error names that item.
        """
        return answered_at_once(self.ask, prepared)

    def ask(self, prepared: Sequence[Content]) -> NDArray[np.float32]:
        """Return answers, computed in one call; an error does not name the item.

        Raises:
            UndecodableError: The model fails.
        """
        try:
            with self._lock:
                given = self._model.predict(pd.DataFrame({self._column: list(prepared)}))
        except Exception as error:  # the model is third-party code
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
                f"the model returns {rows.dtype} of shape {list(rows.shape)} for {count} items",
                f"numbers, [{count}, classes], or a column {PROBABILITIES!r} of lists of numbers",
                "Wrap the model so that it returns a number for each class",
            )
        if self.labels and len(self.labels) != rows.shape[1]:
            raise BlocksError(
                self._where,
                str(self._path),
                f"the model returns {rows.shape[1]} numbers for an item, but has "
                f"{len(self.labels)} labels",
                "one number for each label",
                "Correct `labels` in the model's metadata, or the model's output",
            )
        if not self.labels:
            self.labels = tuple(map(str, names or range(rows.shape[1])))
        return rows.astype(np.float32)
