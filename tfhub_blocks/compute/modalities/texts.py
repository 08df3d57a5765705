"""Texts: rows of a table, in UTF-8."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tfhub_blocks.compute.modalities.modality import Limits, Modality

# About 512 tokens of English, the most that common encoders read.
LONG_CHARACTERS = 2500
# The notes, as a warning about several texts states them.
LONG = f"have more than {LONG_CHARACTERS:,} characters, of which encoders may read only the first"
MISREAD = "contain characters of a wrong decoding, such as U+FFFD"
# U+FFFD, and the bytes of UTF-8 that were read as Latin-1 and written as UTF-8 again.
_WRONG = ("\ufffd".encode(), "é".encode().decode("latin-1").encode()[:3], "â€".encode())


@dataclass(frozen=True)
class Texts(Modality):
    """Texts, unchanged: string [n]. The encoder or its preprocessor contains the tokenizer."""

    name: ClassVar[str] = "text"
    column: ClassVar[Literal["path", "text"]] = "text"
    served_as: ClassVar[Literal["binary", "string"]] = "string"

    dtype: Literal["string"] = "string"

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
    def recognise(cls, spec: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Recognise a vector of strings."""
        is_text = spec.dtype.name == "string" and spec.shape.rank == 1 and spec.shape[0] is None
        return ({}, {}) if is_text else None

    def preprocess(self, contents: Any) -> Any:
        """Return the contents unchanged."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        return tf.identity(contents)

    def describe(self) -> dict[str, Any]:
        """Return the modality and a version: texts are not changed."""
        return {"modality": self.name, "version": 1}
