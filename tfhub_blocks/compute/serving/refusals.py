"""Refusals: the reason why a request is not answered, as an HTTP status and a sentence."""

from typing import Any

RETRY_AFTER_S = 1


class Refusal(Exception):  # noqa: N818 - an answer to the client, and no error of the server
    """The refusal of a request.

    Args:
        status: The HTTP status, 400 or more.
        sentence: The fault and the expected content. The sentence does not quote the request.
        item: The index of the item at fault, if any.
    """

    def __init__(self, status: int, sentence: str, item: int | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.item = item

    @property
    def headers(self) -> dict[str, str]:
        """The header with the time to wait, if a retry can help."""
        return {"retry-after": str(RETRY_AFTER_S)} if self.status in (429, 503) else {}

    def about(self, item: int) -> "Refusal":
        """Return the same refusal, for one of several items."""
        return Refusal(self.status, self.sentence, item)

    def as_dict(self) -> dict[str, Any]:
        """Return the body of the answer."""
        place = {} if self.item is None else {"item": self.item}
        return {"error": self.sentence, **place}


def too_many() -> Refusal:
    """Return the refusal for a full queue."""
    return Refusal(429, "too many requests are waiting: send the request again later")
