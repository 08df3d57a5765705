"""Answerers: from contents to probabilities, with the runtime of a served model.

This module does not import TensorFlow.
"""

# decision 121

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tfhub_blocks.compute.inference.engine_interface import Forward
from tfhub_blocks.compute.modalities.modality import Modality
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


def batch_sizes(largest: int) -> list[int]:
    """Return the batch sizes to compile: powers of two below the largest size, and the largest."""
    sizes = [1]
    while sizes[-1] < largest:
        sizes.append(min(2 * sizes[-1], largest))
    return sizes


class BatchAnswerer(Answerer):
    """An answerer that prepares items one by one, and runs batches of compiled sizes.

    A batch is padded with its last item to the next compiled size.

    Args:
        labels: The names of the columns of the answers.
        encoder_input: The description of the items.
        prepare: Returns the input of a forward pass for the contents of items; see
            ``Modality.prepare``.
        forwards: The forward pass for each batch size, the smallest first.
        runtime: The runtime of the forward passes.
    """

    def __init__(
        self,
        labels: Sequence[str],
        encoder_input: Modality,
        prepare: Callable[[Sequence[bytes]], Any],
        forwards: Mapping[int, Forward],
        runtime: Runtime,
    ) -> None:
        self.labels, self.input, self.runtime = tuple(labels), encoder_input, runtime
        self._prepare, self._forwards = prepare, forwards

    def prepared(self, content: Content) -> Any:
        """Return the input of a forward pass for one item, a batch of one."""
        try:
            return self._prepare([content.encode() if isinstance(content, str) else content])
        except ValueError as error:
            raise UndecodableError(str(error)) from error

    def answered(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        """Return answers, computed in batches of the largest size and a last batch."""
        largest = max(self._forwards)
        starts = range(0, len(prepared), largest)
        return np.concatenate([self._batch(prepared[s : s + largest]) for s in starts])

    def _batch(self, prepared: Sequence[Any]) -> NDArray[np.float32]:
        size = next(size for size in self._forwards if size >= len(prepared))
        given = self._joined([*prepared, *[prepared[-1]] * (size - len(prepared))])
        return self._forwards[size](given).reshape(size, -1)[: len(prepared)]

    def _joined(self, prepared: Sequence[Any]) -> Any:
        """Return prepared items, each a batch of one, as one batch."""
        return np.concatenate(prepared) if len(prepared) > 1 else prepared[0]
