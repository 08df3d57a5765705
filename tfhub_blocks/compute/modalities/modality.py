"""The interface of a modality: one class contains all that differs between kinds of items."""

# decision 9

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
    returns what ``Modality.decode`` returns.
    """

    program: Path
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Modality:
    """A kind of items; an instance is the input of an encoder that takes such items.

    The class defines the items and how a page shows them. Its fields are the pin's table ``input``.
    An instance prepares items: ``prepare`` is the only way from contents to an encoder's input, in
    Python and without TensorFlow's decoders, and ``encode`` is the graph that extraction runs and
    that a served model contains. This base class is the modality
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
    implied: ClassVar[frozenset[str]] = frozenset()
    """The fields that a pin contains only if the user passes them."""
    preparation: ClassVar[str] = "1"
    """The version of everything that decides an encoder's input. A new number computes all features
    again."""

    @classmethod
    def examine(
        cls,
        content: bytes,
        limits: Limits,
        detail_px: int = 1,  # noqa: ARG003
    ) -> tuple[str | None, tuple[str, ...], Any]:
        """Decode a content once, and return what that shows.

        A note is a predicate that users should know, such as "are clipped". It becomes a warning of
        the snapshot with the number of items.

        Args:
            content: The content, which is not empty.
            limits: The limits on its size.
            detail_px: The least size at which a JPEG is decoded.

        Returns:
            The reason why the content cannot be an item, or None; notes; and what was decoded, if
            anything was: the pixels of an image, or the samples of a sound and their rate.
        """
        return cls.content_fault(content, limits), (), None

    @classmethod
    def examined(cls, content: bytes, limits: Limits) -> tuple[str | None, tuple[str, ...]]:
        """Return the fault and the notes of ``examine``."""
        return cls.examine(content, limits)[:2]

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
    def previewed(cls, content: bytes) -> Shown:
        """Return the item about as an encoder gets it, for a page, before an encoder is chosen."""
        return cls.shown(content)

    @classmethod
    def samples(cls) -> tuple[bytes, ...]:
        """Return a few fixed items that every encoder of the modality takes, smallest first."""
        return ()

    @classmethod
    def edges(cls) -> tuple[bytes, ...]:
        """Return fixed items that an encoder may refuse, but must not answer with other rows."""
        return ()

    @classmethod
    def recognise(
        cls,
        spec: Any,  # noqa: ARG003
        operations: Collection[str] = (),  # noqa: ARG003
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Return the facts that a TensorSpec states about the input, and the usual other facts.

        Return None if the spec is no input of this modality. The user must pass every fact that
        neither result contains. ``operations`` are the operations of the encoder's graph, for an
        input of strings.
        """
        return None

    def alternatives(self) -> Mapping[str, "Modality"]:
        """Return inputs under other assumptions that are common, by the facts that state them."""
        return {}

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield key, problem and expectation of each value that is wrong despite its type."""
        yield from ()

    @property
    def decoder(self) -> Decoder | None:
        """The program of ``decode``; None if the graph takes contents unchanged."""
        return None

    def seen(self, content: bytes) -> Shown:
        """Return the item as the encoder gets it, for a page."""
        return self.shown(content)

    def decode(self, content: bytes) -> Any:
        """Return an item's content as ``stacked`` takes it: bytes, or an array.

        Raises:
            ValueError: The content cannot be decoded; the message is the reason.
        """
        return content

    def stacked(self, decoded: Sequence[Any]) -> Any:
        """Return several decoded items as the encoder's input."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        return tf.constant(list(decoded), tf.string)

    def prepare(self, contents: Sequence[bytes]) -> Any:
        """Return the encoder's input for the contents of one or more items.

        Raises:
            ValueError: A content cannot be decoded; the message is the reason.
        """
        return self.stacked([self.decode(content) for content in contents])

    def spec(self, batch_size: int | None) -> Any:
        """Return the TensorSpec of the result of ``prepare``; None for any number of items."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        return tf.TensorSpec([batch_size], tf.string)

    @property
    def bare_limits(self) -> str:
        """How a SavedModel's signature for strings differs from the model; empty if it is equal."""
        return ""

    def preprocess(self, contents: Any) -> Any:
        """Return the encoder's input for strings [n], in any graph.

        A SavedModel's signature for strings begins with this. Each modality states which strings:
        contents, or decoded items.
        """
        raise NotImplementedError(f"no encoder takes {self.name}")

    def encode(self, call: Callable[[Any], Any], inputs: Any, pooling: Pooling) -> Any:
        """Return the encoder's vectors, [n, dimension], for the result of ``prepare``."""
        from tfhub_blocks.compute.modalities.pooling import pooled

        return pooled(call(inputs), pooling)

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the encoder's input besides the contents, JSON-ready."""
        return {"modality": self.name}
