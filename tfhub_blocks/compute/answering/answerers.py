"""Answerers: from contents to probabilities, with the runtime of a served model."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.encoders.encoder import Encoder, load_encoder
from tfhub_blocks.compute.inference.computations import Computation
from tfhub_blocks.compute.inference.engine_interface import Forward, Precision, UnfitError
from tfhub_blocks.compute.inference.engine_list import ENGINES
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.models.served_model import ServedModel, load_served
from tfhub_blocks.compute.tf.saved_model_loading import first_line
from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced, use_threads
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.lineage import STATEMENT_NAME, read_lineage
from tfhub_blocks.records.formats import models
from tfhub_blocks.records.formats.runtimes import OWN, Runtime, read_runtime
from tfhub_blocks.records.pins import pins

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


def open_answerer(path: Path, runtime: Runtime | None, where: str) -> Answerer:
    """Open the answerer of a tfhub-blocks model, an MLflow pyfunc, or an encoder.

    The answers of an encoder are its output, such as the scores of a pretrained classifier. Its
    labels are the numbers of the columns.

    Args:
        path: The folder. Every byte of a tfhub-blocks output is checked before anything is loaded.
        runtime: The runtime. None selects the runtime of the folder's ``runtime.toml``, or without
            this file the model's own program.
        where: The command or step, for messages.

    Raises:
        BlocksError: The folder is none of these, was changed, or the runtime cannot run the model
            on this machine.
    """
    runtime = runtime or read_runtime(path) or Runtime()
    kind = read_lineage(path).format if (path / STATEMENT_NAME).is_file() else ""
    if kind == str(models.MODEL):
        return _of_model(load_served(path, where), runtime, where)
    if kind == str(pins.FORMAT):
        return _of_encoder(load_encoder(path, where), runtime, where)
    if (path / "MLmodel").is_file() and kind in ("", str(models.PYFUNC)):
        from tfhub_blocks.compute.answering.pyfuncs import PyfuncAnswerer

        if runtime.engine != OWN:
            raise _unfit(where, runtime, "no engine can convert a third-party pyfunc")
        return PyfuncAnswerer(path, runtime, where)
    raise BlocksError(
        where,
        str(path),
        f"the folder contains {kind}" if kind else "the folder contains no model",
        "a model, an encoder, or the folder of an MLflow model",
        "Pass a folder that train_head, fine_tune, check_latency, import_encoder or MLflow wrote",
    )


def load_model(path: Path) -> Answerer:
    """Load a model so that it answers, with the runtime that it was registered with.

    Every byte is checked before anything is loaded. The result takes contents, a list of bytes or
    texts, and returns probabilities, float32 [n, classes], in the order of ``labels``::

        model = load_model(Path(".runs/runs/latest/outputs/model"))
        model([Path("cat.jpg").read_bytes()])

    Raises:
        BlocksError: The folder holds no model, was changed, or its runtime cannot run here.
    """
    return open_answerer(path, None, "load_model")


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
    """An answerer that prepares items one by one in TensorFlow, and runs batches in an engine.

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
        try:
            return self._smallest.preprocess(tf.constant([_decoded(self.input, content)]))
        except tf.errors.InvalidArgumentError as error:
            raise UndecodableError(first_line(error)) from error

    def answered(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """Return answers, computed in batches of the largest size and a last batch."""
        largest = self._computations[-1].batch_size
        starts = range(0, len(prepared), largest)
        return np.concatenate([self._batch(prepared[s : s + largest]) for s in starts])

    def _batch(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        pairs = zip(self._computations, self._forwards, strict=True)
        computation, forward = next(p for p in pairs if p[0].batch_size >= len(prepared))
        given = prepared[0]
        if computation.batch_size > 1:
            filled = [*prepared, *[prepared[-1]] * (computation.batch_size - len(prepared))]
            given = tf.nest.map_structure(lambda *each: tf.concat(each, 0), *filled)
        return computation.flat(forward(given))[: len(prepared)]


class OwnAnswerer(Answerer):
    """An answerer that calls an unchanged SavedModel, whose graph decodes."""

    def __init__(
        self, labels: Sequence[str], encoder_input: Modality, call: Any, runtime: Runtime
    ) -> None:
        self.labels, self.input, self.runtime = tuple(labels), encoder_input, runtime
        self._call = call

    def prepared(self, content: Content) -> bytes:
        """Return the graph's input for one item."""
        return _decoded(self.input, content)

    def answered(self, prepared: Sequence[bytes]) -> NDArray[np.float32]:
        """Return answers, computed in one call."""
        return answered_at_once(self._ask, prepared)

    def _ask(self, prepared: Sequence[bytes]) -> NDArray[np.float32]:
        try:
            rows: NDArray[np.float32] = self._call(tf.constant(list(prepared), tf.string)).numpy()
        except tf.errors.InvalidArgumentError as error:
            raise UndecodableError(first_line(error)) from error
        return rows


def _of_model(served: ServedModel, runtime: Runtime, where: str) -> Answerer:
    if runtime.engine == OWN:
        whole = served.loaded.signatures["serving_default"]
        call = lambda contents: whole(contents=contents)["probabilities"]  # noqa: E731
        return OwnAnswerer(served.labels, served.input, call, runtime)
    sizes = batch_sizes(runtime.largest_batch)
    computations = [served.computation(size, where) for size in sizes]
    return _compiled(EngineAnswerer(served.labels, computations), runtime, where)


def _of_encoder(encoder: Encoder, runtime: Runtime, where: str) -> Answerer:
    labels = [str(number) for number in range(encoder.dimension)]
    if runtime.engine == OWN:
        strings = tf.TensorSpec([None], tf.string)
        call = traced(lambda c: encoder.features(encoder.preprocess(c)), input_signature=[strings])
        return OwnAnswerer(labels, encoder.input, call, runtime)
    sizes = batch_sizes(runtime.largest_batch)
    computations = [encoder.computation(size, where) for size in sizes]
    return _compiled(EngineAnswerer(labels, computations), runtime, where)


def _compiled(answerer: EngineAnswerer, runtime: Runtime, where: str) -> Answerer:
    try:
        return answerer.compile(runtime)
    except UnfitError as error:
        raise _unfit(where, runtime, str(error)) from error


def _unfit(where: str, runtime: Runtime, reason: str) -> BlocksError:
    return BlocksError(
        where,
        f"runtime {runtime.name}",
        f"this machine cannot run the model with this runtime ({reason})",
        "a runtime that fits the machine",
        "Run check_latency on this kind of machine, and serve the model that it writes",
    )


def _decoded(encoder_input: Modality | None, content: Content) -> bytes:
    given = content.encode() if isinstance(content, str) else content
    try:
        return encoder_input.decode(given) if encoder_input else given
    except ValueError as error:
        raise UndecodableError(str(error)) from error
