"""Texts: rows of a table, in UTF-8."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tfhub_blocks.compute.modalities.modality import Limits, Modality


@dataclass(frozen=True)
class Texts(Modality):
    """Texts as they are: string [n]; the encoder, or its preprocessor, has the tokenizer."""

    name: ClassVar[str] = "text"
    column: ClassVar[Literal["path", "text"]] = "text"
    served_as: ClassVar[Literal["binary", "string"]] = "string"

    dtype: Literal["string"] = "string"

    @classmethod
    def content_fault(cls, content: bytes, limits: Limits) -> str | None:  # noqa: ARG003
        """Whether it is white space alone; that it is UTF-8, the reader of the table has seen."""
        return "it is empty" if content.decode().isspace() else None

    @classmethod
    def samples(cls) -> tuple[bytes, ...]:
        """A word, a sentence, scripts and signs beyond ASCII, and a long text."""
        texts = ("text", "A cat sat on the mat, 3 times.", "Grüße, 世界! 🙂", "many words " * 2000)
        return tuple(text.encode() for text in texts)

    @classmethod
    def recognise(cls, spec: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """A vector of strings."""
        is_text = spec.dtype.name == "string" and spec.shape.rank == 1 and spec.shape[0] is None
        return ({}, {}) if is_text else None

    def preprocess(self, contents: Any) -> Any:
        """The contents themselves."""
        from tfhub_blocks.compute.tf.tensorflow_setup import tf

        return tf.identity(contents)

    def describe(self) -> dict[str, Any]:
        """That nothing is done."""
        return {"modality": self.name, "version": 1}
