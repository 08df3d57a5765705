"""The scoring program inside a model. It needs only the packages that the model pins."""

# decisions 5 and 8

import importlib
import runpy
import sys
from collections.abc import Iterable
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel

# Importing Keras takes two fifths of TensorFlow's import time, and TensorFlow works without it.
_KERAS = "keras.src.optimizers"
sys.modules.setdefault(_KERAS, None)  # type: ignore[arg-type]
import tensorflow as tf  # noqa: E402

if sys.modules[_KERAS] is None:
    del sys.modules[_KERAS]

# Items are answered in batches of this size, so that memory does not grow with the table.
BATCH_SIZE = 64


class PackedScorer(PythonModel):  # type: ignore[misc]
    """The model's program: from items (bytes of a file, or text) to labels and probabilities."""

    def load_context(self, context: Any) -> None:
        """Load the SavedModel once, and its decoding program if the model has one."""
        for package in context.model_config["imports"]:  # they register operations
            importlib.import_module(package)
        program = context.artifacts.get("decoder")
        self._decode = runpy.run_path(program)["decode"] if program else None
        self._decoder_options = context.model_config["decoder_options"]
        self._model = tf.saved_model.load(context.artifacts["saved_model"])
        self._serve = self._model.signatures["serving_default"]

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """Return for each item the label, its probability, and all probabilities by label order."""
        items = np.asarray(model_input)
        items = items[:, 0] if items.ndim == 2 else items
        answers = [
            self._serve(contents=self._decoded(items[start : start + BATCH_SIZE]))
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

    def _decoded(self, items: Iterable[Any]) -> tf.Tensor:
        if self._decode is not None:
            items = [self._decode(item, **self._decoder_options) for item in items]
        return tf.constant(list(items), tf.string)


mlflow.models.set_model(PackedScorer())
