"""The interface of a modality: one class contains all that differs between kinds of items."""

# decision 9

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from tfhub_blocks.records.pins.pins import Pooling

SNIPPET_BYTES = 300


@dataclass(frozen=True)
class Limits:
    """The largest items that a snapshot takes."""

    max_pixels: int
    max_seconds: float


@dataclass(frozen=True)
class Shown:
    """The look of an item on a page: an image or a sound if ``media`` is set, else a text."""

    text: str = ""
    media: bytes = b""
    media_type: str = ""


@dataclass(frozen=True)
class Decoder:
    """The Python part of preprocessing, which is copied into a model.

    ``program`` is a file that imports nothing from tfhub_blocks. Its ``decode(content, **options)``
    returns the bytes that the graph takes.
    """

    program: Path
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Modality:
    """A kind of items; an instance is the input of an encoder that takes such items.

    The class defines the items and how a page shows them. Its fields are the pin's table ``input``.
    An instance preprocesses: ``decode`` in Python, then ``preprocess`` and ``encode`` in the graph
    that extraction runs and that a served model contains. This base class is the modality
    ``bytes``: files of any content, which no encoder takes. Modules of modalities import TensorFlow
    inside functions, because steps write snapshots without TensorFlow.
    """

    name: ClassVar[str] = "bytes"
    extensions: ClassVar[frozenset[str]] = frozenset()
    """The extensions of its files, in lower case."""
    column: ClassVar[Literal["path", "text"]] = "path"
    """The column of a table that contains the items: paths of files, or texts."""
    served_as: ClassVar[Literal["binary", "string"]] = "binary"
    """The type of the items that a served model takes."""
    requirements: ClassVar[tuple[str, ...]] = ()
    """The packages that a served model needs besides TensorFlow and MLflow."""
    usual_pooling: ClassVar[Pooling] = "none"

    @classmethod
    def content_fault(cls, content: bytes, limits: Limits) -> str | None:  # noqa: ARG003
        """Return the reason why a content cannot be an item, or None.

        The content is not empty. The check does not raise, whatever the bytes are.
        """
        return None

    @classmethod
    def header_fault(cls, content: bytes, limits: Limits) -> str | None:
        """Return the reason why a content must not be decoded, or None.

        The content is not empty. The check reads as little as possible, so None does not mean that
        the content can be decoded.
        """
        return cls.content_fault(content, limits)

    @classmethod
    def shown(cls, content: bytes) -> Shown:
        """Return the item as a page shows it."""
        return Shown(text=content[:SNIPPET_BYTES].decode("utf-8", "replace"))

    @classmethod
    def samples(cls) -> tuple[bytes, ...]:
        """Return a few fixed items that every encoder of the modality takes, smallest first."""
        return ()

    @classmethod
    def recognise(cls, spec: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:  # noqa: ARG003
        """Return the facts that a TensorSpec states about the input, and the usual other facts.

        Return None if the spec is no input of this modality. The user must pass every fact that
        neither result contains.
        """
        return None

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield key, problem and expectation of each value that is wrong despite its type."""
        yield from ()

    @property
    def decoder(self) -> Decoder | None:
        """The program of ``decode``; None if the graph takes contents unchanged."""
        return None

    def decode(self, content: bytes) -> bytes:
        """Return the bytes that the graph takes for an item's content.

        Raises:
            ValueError: The content cannot be decoded; the message is the reason.
        """
        return content

    def preprocess(self, contents: Any) -> Any:
        """Return the encoder's input for decoded contents, string [n]; it runs in any graph."""
        raise NotImplementedError(f"no encoder takes {self.name}")

    def encode(self, call: Callable[[Any], Any], inputs: Any, pooling: Pooling) -> Any:
        """Return the encoder's vectors, [n, dimension], for the result of ``preprocess``."""
        from tfhub_blocks.compute.modalities.pooling import pooled

        return pooled(call(inputs), pooling)

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the encoder's input besides the contents, JSON-ready."""
        return {"modality": self.name}
