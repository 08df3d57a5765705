"""The interface of engines, which run the forward pass of an encoder."""

# decision 14

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np

Precision: TypeAlias = Literal["float32", "bfloat16", "float16"]
Forward: TypeAlias = Callable[[Any], np.ndarray]
"""A function from a preprocessed batch to vectors, float32 [batch, dimension], thread-safe."""


class UnfitError(Exception):
    """The error of an engine that cannot run a function on this machine; the reason is a clause."""


class Engine(ABC):
    """A way to run forward passes on this machine. Its packages are imported on first use.

    ``kind`` identifies features: on machines of the same kind features are equal up to rounding,
    and between kinds they are not.
    """

    name: ClassVar[str]

    @property
    @abstractmethod
    def kind(self) -> str:
        """The name and the device, such as ``tensorflow/cpu``."""

    @property
    @abstractmethod
    def version(self) -> str:
        """The version of the engine's package.

        Raises:
            UnfitError: The package is not installed.
        """

    def divided(self, threads: int, streams: int) -> "Engine":  # noqa: ARG002
        """Return this engine with ``threads`` threads in total, for ``streams`` batches at once.

        An engine that uses the threads of the process returns itself.
        """
        return self

    @abstractmethod
    def compiled(self, forward: Any, precision: Precision) -> Forward:
        """Return a fast forward pass.

        Args:
            forward: A concrete function from one tensor of a fixed batch to [batch, dimension].
            precision: The number type of products.

        Raises:
            UnfitError: The package is not installed, or the engine cannot run this function or
                this precision on this machine.
        """
