"""What an engine is: something that runs the forward pass of an encoder."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]
Forward: TypeAlias = Callable[[Any], np.ndarray]
"""From a preprocessed batch to vectors, float32 [batch, dimension]; from any thread."""


class UnfitError(Exception):
    """An engine that cannot run what it was asked to here: the reason, as a clause."""


class Engine(ABC):
    """A way to run forward passes on this machine. What it needs is imported when it is used.

    ``kind`` is the class of engine that features are identified by: they agree to rounding among
    machines of one kind, and not between kinds.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def kind(self) -> str:
        """Name and device, such as ``tensorflow/cpu``."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The version of what runs it.

        Raises:
            UnfitError: It is not installed.
        """

    def divided(self, threads: int, streams: int) -> "Engine":  # noqa: ARG002
        """This engine with so many threads in all, for so many batches at once.

        One whose threads are the process's gives itself.
        """
        return self

    @abstractmethod
    def compiled(self, forward: Any, precision: Precision) -> Forward:
        """A forward pass made fast.

        Args:
            forward: A concrete function: one tensor of a fixed batch in, [batch, dimension] out.
            precision: What products are computed in.

        Raises:
            UnfitError: It is not installed, or cannot run this function or this precision here.
        """
