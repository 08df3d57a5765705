"""Replicas: copies of the trained part, on other devices and workers, with identical variables.

Each replica computes the gradient of its share of a batch. TensorFlow's strategies sum these
gradients, and each replica applies the same sum, so the variables of all are identical to the bit.
The variables are ordinary ones: a part that was cut out of a graph refers to the variables of that
graph, and no strategy can mirror those.
"""

# decision 28

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
    """The copies on this worker's devices, and their connection to the other workers.

    Args:
        worker: This worker.
        strategy: A strategy of TensorFlow, needed for more than one replica.
    """

    def __init__(self, worker: Worker, strategy: Any | None = None) -> None:
        self.worker = worker
        self._strategy = strategy
        self.devices: tuple[str, ...] = ("",)
        if strategy:
            self.devices = tuple(strategy.extended.worker_devices)

    @property
    def count(self) -> int:
        """The number of replicas on all workers."""
        return len(self.devices) * self.worker.count

    @property
    def first(self) -> int:
        """The number of the first local replica, counted over all workers."""
        return len(self.devices) * self.worker.index

    def shares(self, items: int) -> list[slice]:
        """Return the items of a batch for each local replica."""
        numbers = range(self.first, self.first + len(self.devices) + 1)
        return [slice(*p) for p in pairwise(items * n // self.count for n in numbers)]

    def run(self, calls: Sequence[Callable[[], Any]]) -> Any:
        """Run the call of each local replica, in a graph, and return the first result, a tensor."""
        if self._strategy is None:
            return calls[0]()

        def call() -> Any:
            if len(calls) == 1:
                return calls[0]()
            (device,) = tf.nest.flatten(tf.distribute.get_replica_context().devices)
            return calls[self.devices.index(device)]()

        return self._strategy.experimental_local_results(self._strategy.run(call))[0]

    def summed(self, values: Sequence[Any]) -> list[Any]:
        """Return the sums of some tensors over all replicas.

        Each replica must call this within ``run``, with its own tensors.
        """
        if self._strategy is None:
            return list(values)
        placed = [tf.identity(value) for value in values]
        replica = tf.distribute.get_replica_context()
        sums: list[Any] = replica.all_reduce(tf.distribute.ReduceOp.SUM, placed)
        return sums

    def agreed(self, values: Arrays) -> Arrays:
        """Return the first worker's values on every worker.

        The values have one dtype, and the same shapes on all workers. If each worker computed its
        own, different processors could round them differently.

        Raises:
            BlocksError: Another worker has stopped.
        """
        if self.worker.count == 1:
            return values
        flat = np.concatenate([np.ravel(value) for value in values])
        zeros, is_first = np.zeros_like(flat), self.worker.is_first
        own = [flat if is_first and not n else zeros for n in range(len(self.devices))]

        def add(*given: Any) -> Any:
            return self.run([partial(lambda value: self.summed([value])[0], g) for g in given])

        with self.told_if_lost():
            agreed = traced(add)(*map(tf.constant, own)).numpy()
        ends = np.cumsum([np.size(value) for value in values])
        parts = np.split(agreed, ends[:-1])
        return [part.reshape(np.shape(v)) for part, v in zip(parts, values, strict=True)]

    def wait(self) -> None:
        """Wait until all workers call this: the others treat a worker that ends early as lost.

        Raises:
            BlocksError: Another worker has stopped.
        """
        self.agreed([np.zeros(1, np.float32)])

    @contextmanager
    def told_if_lost(self) -> Iterator[None]:
        """Explain the error of an operation that fails because another worker has stopped.

        Raises:
            BlocksError: Another worker has stopped.
        """
        try:
            yield
        except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError):
            if self.worker.count == 1:
                raise
            raise BlocksError(
                "fine_tune",
                str(self.worker),
                "another worker has stopped before the end of the training",
                "",
                "Read the logs of the other workers for the cause, then run the step again: it "
                "resumes from the last checkpoint",
            ) from None


ALONE = Replicas(Worker())


def replicas_here(worker: Worker) -> Replicas:
    """Return a replica for each GPU of each worker, or one for each worker without a GPU.

    Call this before TensorFlow computes anything in the process.
    """
    if worker.count > 1:
        return Replicas(worker, tf.distribute.MultiWorkerMirroredStrategy())
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return Replicas(worker, tf.distribute.MirroredStrategy())
    return ALONE
