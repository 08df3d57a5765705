"""Texts: rows of a table, in UTF-8."""

# decision 95

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tfhub_blocks.compute.modalities.batches import ANY, UNBATCHED, in_batches, one_vector
from tfhub_blocks.compute.modalities.modality import Limits, Modality
from tfhub_blocks.records.pins.pins import Pooling

FREE = -1
# Operations that read other contents than texts from strings.
FILE_OPERATIONS = frozenset(
    {"DecodeJpeg", "DecodePng", "DecodeImage", "DecodeAndCropJpeg", "DecodeBmp", "DecodeGif"}
    | {"DecodeWebP", "DecodeWav", "ParseExample", "ParseExampleV2", "ParseSingleExample"}
    | {"ParseSingleSequenceExample", "ParseSequenceExampleV2", "ParseTensor", "DecodeProtoV2"}
)
# The shapes of strings that an encoder may take, with the number of items in each call.
SHAPES = {
    (FREE,): ANY,
    (FREE, 1): ANY,
    (1,): 1,
    (1, 1): 1,
    (): UNBATCHED,
}

# About 512 tokens of English, the most that common encoders read.
LONG_CHARACTERS = 2500
# The notes, as a warning about several texts states them.
LONG = f"have more than {LONG_CHARACTERS:,} characters, of which encoders may read only the first"
MISREAD = "contain characters of a wrong decoding, such as U+FFFD"
# U+FFFD, and the bytes of UTF-8 that were read as Latin-1 and written as UTF-8 again.
_WRONG = ("\ufffd".encode(), "é".encode().decode("latin-1").encode()[:3], "â€".encode())


@dataclass(frozen=True)
class Texts(Modality):
    """Texts, unchanged: string [n]. The encoder or its preprocessor contains the tokenizer.

    ``shape`` is the shape of the encoder's input, with -1 for any number of items: ``[-1]``,
    ``[-1, 1]`` (a column), ``[1]`` or ``[1, 1]`` (one text a call), or ``[]`` (a single text).
    """

    name: ClassVar[str] = "text"
    column: ClassVar[Literal["path", "text"]] = "text"
    served_as: ClassVar[Literal["binary", "string"]] = "string"

    implied: ClassVar[frozenset[str]] = frozenset({"shape"})

    dtype: Literal["string"] = "string"
    shape: tuple[int, ...] = (FREE,)

    @classmethod
    def examine(
        cls,
        content: bytes,
        limits: Limits,
        detail_px: int = 1,  # noqa: ARG003
    ) -> tuple[str | None, tuple[str, ...], Any]:
        """Return a fault if the text is only white space, and notes about length and encoding."""
        # No white space: an ASCII character above the blank, which almost every text begins with.
        if not 32 < content[0] < 127:
            fault = cls.content_fault(content, limits)
            if fault is not None:
                return fault, (), None
        if len(content) < LONG_CHARACTERS and not any(map(content.__contains__, _WRONG)):
            return None, (), None
        notes = (LONG,) if len(content.decode()) > LONG_CHARACTERS else ()
        if any(map(content.__contains__, _WRONG)):
            notes = (*notes, MISREAD)
        return None, notes, None

    @classmethod
    def are_plain(cls, contents: Sequence[bytes]) -> bool:
        """Return True if ``examine`` finds nothing in any of several texts, each of its bytes."""
        lengths = list(map(len, contents))
        if min(lengths) == 0 or max(lengths) >= LONG_CHARACTERS:
            return False
        if not all(32 < content[0] < 127 for content in contents):
            return False
        joined = b" ".join(contents)
        return joined.isascii() or not any(map(joined.__contains__, _WRONG))

    @classmethod
    def content_fault(cls, content: bytes, limits: Limits) -> str | None:  # noqa: ARG003
        """Return a sentence if the text is only white space, else None.

        The reader of the table has already checked that the content is UTF-8.
        """
        return "the text is empty" if content.decode().isspace() else None

    @classmethod
    def samples(cls) -> tuple[bytes, ...]:
        """Return a word, a sentence, a text with characters beyond ASCII, and a long text."""
        texts = ("text", "A cat sat on the mat, 3 times.", "Grüße, 世界! 🙂", "many words " * 2000)
        return tuple(text.encode() for text in texts)

    @classmethod
    def edges(cls) -> tuple[bytes, ...]:
        """Return texts from which tokenizers keep nothing, and the same text twice."""
        return (b"", b" ", b"!?", b"text")

    @classmethod
    def recognise(
        cls, spec: Any, operations: Collection[str] = ()
    ) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Recognise strings in one of the shapes that ``SHAPES`` lists."""
        if spec.dtype.name != "string" or spec.shape.rank is None:
            return None
        shape = tuple(FREE if side is None else side for side in spec.shape.as_list())
        if shape not in SHAPES or FILE_OPERATIONS & set(operations):
            return None
        return ({} if shape == (FREE,) else {"shape": list(shape)}), {}

    def faults(self) -> Iterator[tuple[str, str, str]]:
        """Yield a fault for an unknown shape."""
        if self.shape not in SHAPES:
            expected = ", ".join(str(list(shape)) for shape in SHAPES)
            yield "shape", f"{list(self.shape)} is no shape of texts", f"one of {expected}"

    def encode(self, call: Callable[[Any], Any], inputs: Any, pooling: Pooling) -> Any:
        """Return the vectors; the texts are passed in the encoder's shape."""
        from tfhub_blocks.compute.modalities.pooling import pooled
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        batch = SHAPES[self.shape]

        def vectors(texts: Any) -> Any:
            given = call(texts if self.shape in ((FREE,), ()) else tf.reshape(texts, self.shape))
            is_one = batch == UNBATCHED
            return one_vector(given, pooling) if is_one else pooled(given, pooling)

        return in_batches(vectors, inputs, batch)

    def preprocess(self, contents: Any) -> Any:
        """Return the contents unchanged."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        return tf.identity(contents)

    def describe(self) -> dict[str, Any]:
        """Return the modality and a version: texts are not changed."""
        return {"modality": self.name, "version": 1}
