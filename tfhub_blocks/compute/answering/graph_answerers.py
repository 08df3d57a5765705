"""Answerers that run in TensorFlow, or in an engine that converts a graph of TensorFlow."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.answering.answerers import (
    Answerer,
    BatchAnswerer,
    Content,
    UndecodableError,
    answered_at_once,
)
from tfhub_blocks.compute.inference.computations import Computation
from tfhub_blocks.compute.inference.engine_interface import Precision
from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tf.saved_model_loading import first_line
from tfhub_blocks.compute.tf.tensorflow_setup import tf, use_threads
from tfhub_blocks.records.formats.runtimes import Runtime


def apply_threads(runtime: Runtime) -> None:
    """Set TensorFlow's threads as the runtime states; OpenVINO's threads are set elsewhere.

    Raises:
        RuntimeError: TensorFlow has already computed something in this process.
    """
    # With OpenVINO, TensorFlow only decodes, one item in each of the caller's threads.
    use_threads(1 if runtime.engine == "openvino" else runtime.threads)


class EngineAnswerer(BatchAnswerer):
    """An answerer that prepares items one by one, and runs batches in an engine."""

    def __init__(
        self, labels: Sequence[str], computations: Sequence[Computation], runtime: Runtime
    ) -> None:
        """Compile each computation for the runtime's engine.

        Args:
            labels: The names of the columns of the answers.
            computations: The same computation for each batch size, the smallest first.
            runtime: The engine, its precision and its threads.

        Raises:
            UnfitError: The engine cannot run the computation on this machine.
        """
        threads = runtime.threads * runtime.concurrency
        engine = ENGINES[runtime.engine].divided(threads, runtime.concurrency)
        precision = cast(Precision, runtime.precision)
        forwards = {c.batch_size: engine.compiled(c.forward, precision) for c in computations}
        smallest = computations[0]
        super().__init__(labels, smallest.input, smallest.prepare, forwards, runtime)
        self._computations = computations  # they keep the variables of the forward passes alive

    def prepared(self, content: Content) -> Any:
        """Return the engine's input for one item, a batch of one."""
        return _prepared(self._prepare, content)

    def _joined(self, prepared: Sequence[Any]) -> Any:
        return _joined(prepared)


class OwnAnswerer(Answerer):
    """An answerer that prepares items one by one, and calls an unchanged SavedModel."""

    def __init__(
        self,
        labels: Sequence[str],
        encoder_input: Modality,
        prepare: Callable[[Sequence[bytes]], Any],
        call: Callable[[Any], Any],
        runtime: Runtime,
    ) -> None:
        self.labels, self.input, self.runtime = tuple(labels), encoder_input, runtime
        self._prepare, self._call = prepare, call

    def prepared(self, content: Content) -> Any:
        """Return the graph's input for one item, a batch of one."""
        return _prepared(self._prepare, content)

    def answered(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """Return answers, computed in one call."""
        return answered_at_once(self._ask, prepared)

    def _ask(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        try:
            given = tf.convert_to_tensor(_joined(prepared))
            rows: NDArray[np.float32] = self._call(given).numpy()
        except tf.errors.InvalidArgumentError as error:
            raise UndecodableError(first_line(error)) from error
        return rows


def _prepared(prepare: Callable[[Sequence[bytes]], Any], content: Content) -> Any:
    given = content.encode() if isinstance(content, str) else content
    try:
        return prepare([given])
    except ValueError as error:
        raise UndecodableError(str(error)) from error
    except tf.errors.InvalidArgumentError as error:  # a model of an earlier version
        raise UndecodableError(first_line(error)) from error


def _joined(prepared: Sequence[Any]) -> Any:
    """Return prepared items, each a batch of one, as one batch."""
    if len(prepared) == 1:
        return prepared[0]
    if isinstance(prepared[0], np.ndarray):
        return np.concatenate(prepared)
    return tf.concat(prepared, 0)
