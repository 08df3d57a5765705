"""What a modality is: all that differs between images, texts and sounds, in one class each."""

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
    """How a page shows an item: as an image or a sound, or else as a text."""

    text: str = ""
    media: bytes = b""
    media_type: str = ""


@dataclass(frozen=True)
class Decoder:
    """The Python part of preprocessing, for a model to take along.

    ``program`` is a file that needs nothing of ours; its ``decode(content, **options)`` gives the
    bytes that the graph takes.
    """

    program: Path
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Modality:
    """A kind of items; an instance is the input of an encoder that takes them.

    The class says what items are and how they are shown, its fields are the pin's table ``input``,
    and an instance preprocesses: ``decode`` in Python, then ``preprocess`` and ``encode`` in the
    graph that extraction runs and a served model contains. This one is the modality ``bytes``:
    files of any content, which no encoder takes. Modules of modalities import TensorFlow where
    they use it, because snapshots are made without.
    """

    name: ClassVar[str] = "bytes"
    extensions: ClassVar[frozenset[str]] = frozenset()
    """What the names of its files end with, in lower case."""
    column: ClassVar[Literal["path", "text"]] = "path"
    """Where items stand in a table: as the paths of files, or as texts."""
    served_as: ClassVar[Literal["binary", "string"]] = "binary"
    """What a served model is asked with."""
    requirements: ClassVar[tuple[str, ...]] = ()
    """Packages that a served model needs besides TensorFlow and MLflow."""
    usual_pooling: ClassVar[Pooling] = "none"

    @classmethod
    def content_fault(cls, content: bytes, limits: Limits) -> str | None:  # noqa: ARG003
        """Why a content that is not empty cannot be an item, or None; it raises for no bytes."""
        return None

    @classmethod
    def header_fault(cls, content: bytes, limits: Limits) -> str | None:
        """Why a content that is not empty must not be decoded, from as little as tells that.

        None if it may, which does not mean that it can.
        """
        return cls.content_fault(content, limits)

    @classmethod
    def shown(cls, content: bytes) -> Shown:
        """How a page shows an item."""
        return Shown(text=content[:SNIPPET_BYTES].decode("utf-8", "replace"))

    @classmethod
    def samples(cls) -> tuple[bytes, ...]:
        """A few fixed items that every encoder of the modality takes, the smallest first."""
        return ()

    @classmethod
    def recognise(cls, spec: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:  # noqa: ARG003
        """What a TensorSpec says of the input, and what holds besides unless told otherwise.

        None if it is no input of this modality. What neither has, must be told.
        """
        return None

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Key, problem and expectation of each value that its type alone does not rule out."""
        yield from ()

    @property
    def decoder(self) -> Decoder | None:
        """The program behind ``decode``, if contents do not go into the graph as they are."""
        return None

    def decode(self, content: bytes) -> bytes:
        """What the graph takes for an item's content.

        Raises:
            ValueError: It cannot be decoded; the message is the reason.
        """
        return content

    def preprocess(self, contents: Any) -> Any:
        """The encoder's input for decoded contents, string [n]; it runs in any graph."""
        raise NotImplementedError(f"no encoder takes {self.name}")

    def encode(self, call: Callable[[Any], Any], inputs: Any, pooling: Pooling) -> Any:
        """The vectors, [n, dimension], that an encoder gives for what ``preprocess`` gave."""
        from tfhub_blocks.compute.modalities.pooling import pooled

        return pooled(call(inputs), pooling)

    def describe(self) -> dict[str, Any]:
        """All that decides the encoder's input besides the contents, JSON-ready."""
        return {"modality": self.name}
