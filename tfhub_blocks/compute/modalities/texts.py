"""Texts: rows of a table, in UTF-8."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tfhub_blocks.compute.modalities.modality import Limits, Modality


@dataclass(frozen=True)
class Texts(Modality):
    """Texts, unchanged: string [n]. The encoder or its preprocessor contains the tokenizer."""

    name: ClassVar[str] = "text"
    column: ClassVar[Literal["path", "text"]] = "text"
    served_as: ClassVar[Literal["binary", "string"]] = "string"

    dtype: Literal["string"] = "string"

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
