"""Computations: a vector for each item, batch by batch, by any engine."""

# decision 75

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.inference.engine_interface import Forward
from tfhub_blocks.compute.modalities.modality import Modality
from tfhub_blocks.compute.tf.saved_model_loading import first_line
from tfhub_blocks.compute.tf.tensorflow_setup import tf
from tfhub_blocks.records.base.cores import core_count
from tfhub_blocks.records.base.errors import BlocksError

Item = tuple[str, bytes]
"""Id and content."""
Key = TypeVar("Key")
Result = TypeVar("Result")
OnFault = Callable[[str, str], None]
"""Called with an item's id and the reason why the item has no vector."""
NOT_FINITE = "the model returns numbers that are NaN or infinite"


@dataclass(frozen=True, eq=False)
class Computation:
    """Two functions from contents to vectors, float32 [batch_size, dimension].

    ``prepare`` takes the contents of one or more items, and raises ValueError or
    InvalidArgumentError. ``forward``, a concrete function that an engine compiles, takes the result
    for ``batch_size`` items and returns ``dimension`` numbers for each item, in any shape.
    ``modules`` keep the variables of both alive. ``where`` is the calling step, for messages.
    """

    where: str
    input: Modality
    prepare: Callable[[Sequence[bytes]], Any]
    forward: Any
    batch_size: int
    dimension: int
    modules: tuple[Any, ...]

    def prepared(self, batch: Sequence[Item]) -> Any:
        """Return the input of ``forward`` for one to ``batch_size`` items.

        The last item is repeated to fill the batch.

        Raises:
            BlocksError: An item cannot be decoded. The message names the item.
        """
        try:
            return self._prepared([content for _, content in batch])
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise self._undecodable(batch, error) from error

    def flat(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the result of a forward pass as [batch_size, dimension]."""
        return given.reshape(self.batch_size, self.dimension)

    def _prepared(self, contents: Sequence[bytes]) -> Any:
        prepared = self.prepare(contents)
        return filled(prepared, self.batch_size - len(contents))

    def vectors(
        self,
        batches: Iterable[tuple[Key, list[Item]]],
        forward: Forward,
        on_fault: OnFault | None = None,
    ) -> Iterator[tuple[Key, list[str], NDArray[np.float32]]]:
        """Yield keys, ids and vectors of batches of items, in order.

        Each thread decodes and computes complete batches, so some threads decode while others
        compute. To use waiting times, there is one thread more than cores. Every batch is computed
        at full size. A few batches are computed ahead, while the caller processes earlier ones.

        With ``on_fault`` an item without a vector is left out and passed to ``on_fault`` with the
        reason, from any thread; a batch may then be empty.

        Raises:
            BlocksError: An item cannot be decoded, or its vector is not finite.
        """

        def compute(key: Key, batch: list[Item]) -> tuple[Key, list[str], NDArray[np.float32]]:
            if on_fault is None:
                ids = [item for item, _ in batch]
                vectors = self.flat(forward(self.prepared(batch)))[: len(batch)]
                check_finite(ids, vectors, self.where)
                return key, ids, vectors
            batch, prepared = self.readable(batch, on_fault)
            if not batch:
                return key, [], np.empty((0, self.dimension), np.float32)
            vectors = self.flat(forward(prepared))[: len(batch)]
            finite = np.isfinite(vectors).all(axis=1)
            for row in np.flatnonzero(~finite):
                on_fault(batch[row][0], NOT_FINITE)
            return key, [batch[row][0] for row in np.flatnonzero(finite)], vectors[finite]

        return in_order(batches, compute, core_count() + 1)

    def readable(self, batch: list[Item], on_fault: OnFault) -> tuple[list[Item], Any]:
        """Return the decodable items, and the input of ``forward`` for them, or None if none."""
        if not batch:
            return [], None
        try:
            return batch, self._prepared([content for _, content in batch])
        except (ValueError, tf.errors.InvalidArgumentError):
            faults = dict(self._faults(batch))
            if not faults:
                raise
        for item, reason in faults.items():
            on_fault(item, reason)
        rest = [(item, content) for item, content in batch if item not in faults]
        return rest, self._prepared([content for _, content in rest]) if rest else None

    def _faults(self, batch: Sequence[Item]) -> Iterator[tuple[str, str]]:
        """Yield the items of a batch that fail alone, with the reasons."""
        for item, content in batch:
            try:
                self._prepared([content])
            except ValueError as alone:
                yield item, str(alone)
            except tf.errors.InvalidArgumentError as alone:  # a model of an earlier version
                yield item, f"the content cannot be decoded ({_reason(alone)})"

    def _undecodable(self, batch: Sequence[Item], error: Exception) -> Exception:
        """Return the error that names the failed item, or the error itself if none fails alone."""
        for item, problem in self._faults(batch):
            return self.undecodable(item, problem)
        return error

    def undecodable(self, item: str, problem: str) -> BlocksError:
        """Return the error for an item that cannot be decoded."""
        return BlocksError(
            self.where,
            f"item {item}",
            problem,
            f"content of modality {self.input.name}",
            "Convert or remove the file (sources.parquet names it), and take a new snapshot",
        )

    def refuse_undecodable(self, item: str, reason: str) -> None:
        """Pass over an item without a finite vector, as an ``OnFault``.

        Raises:
            BlocksError: The item has another fault: it cannot be decoded.
        """
        if reason != NOT_FINITE:
            raise self.undecodable(item, reason)


def filled(prepared: Any, missing: int) -> Any:
    """Return a prepared batch with its last row repeated as often as rows are missing."""
    if not missing:
        return prepared
    if isinstance(prepared, np.ndarray):
        return np.concatenate([prepared, np.repeat(prepared[-1:], missing, axis=0)])
    return tf.nest.map_structure(
        lambda each: tf.concat([each, tf.repeat(each[-1:], missing, axis=0)], 0), prepared
    )


def _reason(error: Exception) -> str:
    """Return the message of an error; in TensorFlow's the operation's name follows the message."""
    lines = str(error).splitlines()
    node = next((n for n, line in enumerate(lines) if line.lstrip().startswith("[[{{")), 0)
    return lines[node - 1].strip()[:200] if node else first_line(error)


def in_order(
    batches: Iterable[tuple[Key, list[Item]]],
    compute: Callable[[Key, list[Item]], Result],
    threads: int,
) -> Iterator[Result]:
    """Yield the result of each batch, in order; each thread is at most a batch ahead."""
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for key, batch in batches:
                waiting.append(pool.submit(compute, key, batch))
                if len(waiting) >= 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of ``size`` items; the last may be shorter."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def check_finite(ids: Sequence[str], vectors: NDArray[np.floating], where: str) -> None:
    """Check that all numbers of all vectors are finite.

    Raises:
        BlocksError: A vector is not finite. The message names the item.
    """
    faulty = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if faulty.size:
        raise not_finite(ids[int(faulty[0])], str(vectors.dtype), where)


def not_finite(item: str, dtype: str, where: str) -> BlocksError:
    """Return the error for an item whose vector is not finite."""
    return BlocksError(
        where,
        f"item {item}",
        f"the encoder returns {dtype} features that are NaN or infinite",
        "",
        "Check the item (the snapshot's sources.parquet names its file) and the range in the "
        f"pin, or set a dtype with larger numbers than {dtype}",
    )
