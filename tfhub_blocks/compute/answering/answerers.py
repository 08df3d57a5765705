"""Answerers: contents in, probabilities out, by the runtime that a model is served with."""

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
"""Of one item: a file's bytes, or a text."""


class UndecodableError(ValueError):
    """An item that cannot be decoded: why, and which of those that were given."""

    def __init__(self, reason: str, index: int = 0) -> None:
        super().__init__(reason)
        self.index = index


class Answerer(ABC):
    """What answers; it may be called from any thread.

    ``labels`` name the columns of the answers. ``input`` says what items are; None where nothing is
    known of that, as of somebody's pyfunc.
    """

    labels: tuple[str, ...]
    input: Modality | None
    runtime: Runtime

    @property
    def served_as(self) -> Literal["binary", "string"]:
        """Whether items are the bytes of files, or texts."""
        return self.input.served_as if self.input else "binary"

    def __call__(self, contents: Sequence[Content]) -> NDArray[np.float32]:
        """Answers, float32 [n, classes], for one item or more.

        Raises:
            UndecodableError: An item cannot be decoded; the first such one is told.
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
        """What ``answered`` takes for one item: for a thread per request, before a batch is made.

        Raises:
            UndecodableError: It cannot be decoded.
        """

    @abstractmethod
    def answered(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """Answers, float32 [n, classes], for one prepared item or more.

        Raises:
            UndecodableError: An item cannot be decoded, where the model's own program does that.
        """


def answered_at_once(
    ask: Callable[[Sequence[Any]], NDArray[np.float32]], prepared: Sequence[Any]
) -> NDArray[np.float32]:
    """What a program that decodes by itself gives for several items.

    Args:
        ask: Calls it; raises ``UndecodableError`` if it fails, which does not tell for which item.
        prepared: The items.

    Raises:
        UndecodableError: It fails for an item alone; the first such one is told.
        Exception: What the program raised, if it fails for them together only.
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
    """What answers for a model of ours, any MLflow pyfunc, or an encoder.

    An encoder's answers are what it gives: the scores of a classifier of its own, each column named
    by its number.

    Args:
        path: The folder; every byte of ours is checked before anything is loaded.
        runtime: What computes; None for what the folder's ``runtime.toml`` says, and without that
            the model's own program.
        where: Who asks, for messages.

    Raises:
        BlocksError: It is none of these, was changed, or the runtime cannot run it here.
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
            raise _unfit(where, runtime, "it is somebody's pyfunc, which no engine takes apart")
        return PyfuncAnswerer(path, runtime, where)
    raise BlocksError(
        where,
        str(path),
        f"this is {kind}" if kind else "there is no model",
        "a model, an encoder, or the folder of an MLflow model",
        "give one that train_head, fine_tune, check_latency, import_encoder or MLflow wrote",
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
    """Set TensorFlow's threads as the runtime says; what OpenVINO uses, it is given itself.

    Raises:
        RuntimeError: TensorFlow has computed something in this process before.
    """
    # Beside OpenVINO it decodes, one item in each of the caller's threads.
    use_threads(1 if runtime.engine == "openvino" else runtime.threads)


def batch_sizes(largest: int) -> list[int]:
    """The sizes that are compiled: powers of two up to the largest batch, and that."""
    sizes = [1]
    while sizes[-1] < largest:
        sizes.append(min(2 * sizes[-1], largest))
    return sizes


class EngineAnswerer(Answerer):
    """Items prepared one by one in TensorFlow, then a fixed size of batch in an engine.

    A batch is filled up to the next size that there is with its last item.
    """

    def __init__(self, labels: Sequence[str], computations: Sequence[Computation]) -> None:
        self.labels = tuple(labels)
        self.input = computations[0].input
        self._smallest = computations[0]
        self._computations = computations
        self._forwards: list[Forward] = []

    def compile(self, runtime: Runtime) -> "EngineAnswerer":
        """Make it ready.

        Raises:
            UnfitError: The engine cannot run this here.
        """
        self.runtime = runtime
        threads = runtime.threads * runtime.concurrency
        engine = ENGINES[runtime.engine].divided(threads, runtime.concurrency)
        precision = cast(Precision, runtime.precision)
        self._forwards = [engine.compiled(c.forward, precision) for c in self._computations]
        return self

    def prepared(self, content: Content) -> Any:
        """The engine's input for one item, a batch of one."""
        try:
            return self._smallest.preprocess(tf.constant([_decoded(self.input, content)]))
        except tf.errors.InvalidArgumentError as error:
            raise UndecodableError(first_line(error)) from error

    def answered(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """In batches of the largest size, and a last one."""
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
    """A SavedModel as it is, which decodes within."""

    def __init__(
        self, labels: Sequence[str], encoder_input: Modality, call: Any, runtime: Runtime
    ) -> None:
        self.labels, self.input, self.runtime = tuple(labels), encoder_input, runtime
        self._call = call

    def prepared(self, content: Content) -> bytes:
        """What the graph takes."""
        return _decoded(self.input, content)

    def answered(self, prepared: Sequence[bytes]) -> NDArray[np.float32]:
        """All of them in one call."""
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
        f"it cannot run this model here ({reason})",
        "a runtime that can",
        "run check_latency on this kind of machine, and serve the model that it gives",
    )


def _decoded(encoder_input: Modality | None, content: Content) -> bytes:
    given = content.encode() if isinstance(content, str) else content
    try:
        return encoder_input.decode(given) if encoder_input else given
    except ValueError as error:
        raise UndecodableError(str(error)) from error
