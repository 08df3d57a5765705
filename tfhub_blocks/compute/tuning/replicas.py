"""Replicas: copies of what is trained, on other devices and workers, that stay in step.

Each computes the gradient of its share of a batch; TensorFlow's strategies add these up, and each
applies the same sum, so all hold the same bits. The variables are ordinary ones: a part of a graph
that was cut out refers to the variables that it came with, which no strategy could mirror.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.tf.tensorflow_setup import tf, traced
from tfhub_blocks.records.base.errors import BlocksError
from tfhub_blocks.records.base.worker_group import Worker

Arrays = list[NDArray[Any]]


class Replicas:
    """The copies on this worker's devices, and how they meet all others.

    Args:
        worker: Which of the workers this is.
        strategy: TensorFlow's, for more than one replica.
    """

    def __init__(self, worker: Worker, strategy: Any | None = None) -> None:
        self.worker = worker
        self._strategy = strategy
        self.devices: tuple[str, ...] = ("",)
        if strategy:
            self.devices = tuple(strategy.extended.worker_devices)

    @property
    def count(self) -> int:
        """How many there are on all workers."""
        return len(self.devices) * self.worker.count

    @property
    def first(self) -> int:
        """The number of the first of those here."""
        return len(self.devices) * self.worker.index

    def shares(self, items: int) -> list[slice]:
        """Which items of a batch each replica here computes with."""
        numbers = range(self.first, self.first + len(self.devices) + 1)
        return [slice(*p) for p in pairwise(items * n // self.count for n in numbers)]

    def run(self, calls: Sequence[Callable[[], Any]]) -> Any:
        """Let each replica here make its call, in a graph; the answer of the first, one tensor."""
        if self._strategy is None:
            return calls[0]()

        def call() -> Any:
            if len(calls) == 1:
                return calls[0]()
            (device,) = tf.nest.flatten(tf.distribute.get_replica_context().devices)
            return calls[self.devices.index(device)]()

        return self._strategy.experimental_local_results(self._strategy.run(call))[0]

    def summed(self, values: Sequence[Any]) -> list[Any]:
        """The sums over all replicas of some tensors; each calls this, in ``run``, with its own."""
        if self._strategy is None:
            return list(values)
        placed = [tf.identity(value) for value in values]
        replica = tf.distribute.get_replica_context()
        sums: list[Any] = replica.all_reduce(tf.distribute.ReduceOp.SUM, placed)
        return sums

    def agreed(self, values: Arrays) -> Arrays:
        """The first worker's values, of one dtype and the same shapes on all, for all to go by.

        Other processors may round what each could compute for itself in another way.

        Raises:
            BlocksError: Another worker is gone.
        """
        if self.worker.count == 1:
            return values
        flat = np.concatenate([np.ravel(value) for value in values])
        zeros, is_first = np.zeros_like(flat), self.worker.is_first
        own = [flat if is_first and not n else zeros for n in range(len(self.devices))]

        def add(*given: Any) -> Any:
            return self.run([partial(lambda value: self.summed([value])[0], g) for g in given])

        with self.told_if_lost():
            told = traced(add)(*map(tf.constant, own)).numpy()
        ends = np.cumsum([np.size(value) for value in values])
        parts = np.split(told, ends[:-1])
        return [part.reshape(np.shape(v)) for part, v in zip(parts, values, strict=True)]

    def wait(self) -> None:
        """Wait until all workers are here: one that ends before the others is taken for dead.

        Raises:
            BlocksError: Another worker is gone.
        """
        self.agreed([np.zeros(1, np.float32)])

    @contextmanager
    def told_if_lost(self) -> Iterator[None]:
        """Tell what it means when an operation ends because another worker is gone.

        Raises:
            BlocksError: One is.
        """
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError):
            if self.worker.count == 1:
                raise
            raise BlocksError(
                "fine_tune",
                str(self.worker),
                "another worker is gone",
                "all to train to the end",
                "see its log; run again: what is done is kept, and training goes on from there",
            ) from None


ALONE = Replicas(Worker())


def replicas_here(worker: Worker) -> Replicas:
    """A replica for each GPU of each worker, or one a worker where there is none.

    To be called before TensorFlow computes anything.
    """
    if worker.count > 1:
        return Replicas(worker, tf.distribute.MultiWorkerMirroredStrategy())
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return Replicas(worker, tf.distribute.MirroredStrategy())
    return ALONE
