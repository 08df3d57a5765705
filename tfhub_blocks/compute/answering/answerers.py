"""Answerers: from contents to probabilities, with the runtime of a served model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.inference.computations import Computation, filled
from tfhub_blocks.compute.inference.engine_interface import Forward, Precision
from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tf.saved_model_loading import first_line
from tfhub_blocks.compute.tf.tensorflow_setup import tf, use_threads
from tfhub_blocks.records.formats.runtimes import Runtime

Content = bytes | str
"""The content of one item: a file's bytes, or a text."""


class UndecodableError(ValueError):
    """An item that cannot be decoded: the reason, and the item's index among the items passed."""

    def __init__(self, reason: str, index: int = 0) -> None:
        super().__init__(reason)
        self.index = index


class Answerer(ABC):
    """An object that answers items; any thread may call it.

    ``labels`` name the columns of the answers. ``input`` describes the items, or is None if this is
    unknown, as for a third-party pyfunc.
    """

    labels: tuple[str, ...]
    input: Modality | None
    runtime: Runtime

    @property
    def served_as(self) -> Literal["binary", "string"]:
        """``binary`` if items are the bytes of files, ``string`` if items are texts."""
        return self.input.served_as if self.input else "binary"

    def __call__(self, contents: Sequence[Content]) -> NDArray[np.float32]:
        """Return answers, float32 [n, classes], for one item or more.

        Raises:
            UndecodableError: An item cannot be decoded; the error names the first such item.
        """
        prepared = []
        for index, content in enumerate(contents):
            try:
                prepared.append(self.prepared(content))
            except UndecodableError as error:
                raise UndecodableError(str(error), index) from error
        return self.answered(prepared)

    @abstractmethod
    def prepared(self, content: Content) -> Any:
        """Prepare one item for ``answered``, in the thread of its request, before batching.

        Raises:
            UndecodableError: The item cannot be decoded.
        """

    @abstractmethod
    def answered(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """Return answers, float32 [n, classes], for one prepared item or more.

        Raises:
            UndecodableError: The model's own program decodes, and cannot decode an item.
        """


def answered_at_once(
    ask: Callable[[Sequence[Any]], NDArray[np.float32]], prepared: Sequence[Any]
) -> NDArray[np.float32]:
    """Return the answers of a program that decodes by itself, for several items.

    Args:
        ask: Calls the program. If the program fails, it raises ``UndecodableError`` without the
            index of the item.
        prepared: The items.

    Raises:
        UndecodableError: The program fails for a single item; the error names the first such item.
        Exception: The program fails only for all items together; this is its own exception.
    """
    try:
        return ask(prepared)
    except UndecodableError as error:
        if len(prepared) == 1:
            raise
        for index, item in enumerate(prepared):
            try:
                ask([item])
            except UndecodableError as alone:
                raise UndecodableError(str(alone), index) from error
        raise (error.__cause__ or error) from None


def apply_threads(runtime: Runtime) -> None:
    """Set TensorFlow's threads as the runtime states; OpenVINO's threads are set elsewhere.

    Raises:
        RuntimeError: TensorFlow has already computed something in this process.
    """
    # With OpenVINO, TensorFlow only decodes, one item in each of the caller's threads.
    use_threads(1 if runtime.engine == "openvino" else runtime.threads)


def batch_sizes(largest: int) -> list[int]:
    """Return the batch sizes to compile: powers of two below the largest size, and the largest."""
    sizes = [1]
    while sizes[-1] < largest:
        sizes.append(min(2 * sizes[-1], largest))
    return sizes


class EngineAnswerer(Answerer):
    """An answerer that prepares items one by one, and runs batches in an engine.

    A batch is padded with its last item to the next compiled size.
    """

    def __init__(self, labels: Sequence[str], computations: Sequence[Computation]) -> None:
        self.labels = tuple(labels)
        self.input = computations[0].input
        self._smallest = computations[0]
        self._computations = computations
        self._forwards: list[Forward] = []

    def compile(self, runtime: Runtime) -> "EngineAnswerer":
        """Compile each computation for the runtime's engine, and return the answerer.

        Raises:
            UnfitError: The engine cannot run the computation on this machine.
        """
        self.runtime = runtime
        threads = runtime.threads * runtime.concurrency
        engine = ENGINES[runtime.engine].divided(threads, runtime.concurrency)
        precision = cast(Precision, runtime.precision)
        self._forwards = [engine.compiled(c.forward, precision) for c in self._computations]
        return self

    def prepared(self, content: Content) -> Any:
        """Return the engine's input for one item, a batch of one."""
        return _prepared(self._smallest.prepare, content)

    def answered(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """Return answers, computed in batches of the largest size and a last batch."""
        largest = self._computations[-1].batch_size
        starts = range(0, len(prepared), largest)
        return np.concatenate([self._batch(prepared[s : s + largest]) for s in starts])

    def _batch(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        pairs = zip(self._computations, self._forwards, strict=True)
        computation, forward = next(p for p in pairs if p[0].batch_size >= len(prepared))
        given = filled(_joined(prepared), computation.batch_size - len(prepared))
        return computation.flat(forward(given))[: len(prepared)]


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
